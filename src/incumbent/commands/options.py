"""The options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path | None, typer.Option("--config", "-c", help="The configuration file.",
                                                 show_default="incumbent.toml")]
Directory = Annotated[Path | None, typer.Option("--dir", help="The data directory, instead of the configured one.")]
Url = Annotated[str | None, typer.Option("--url", help="A running service, instead of its directory.")]
Key = Annotated[str | None, typer.Option("--key", help="API key for --url; else INCUMBENT_KEY.", show_envvar=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
