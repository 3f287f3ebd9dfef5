"""`incumbent demo`: what it needs beyond the base is said before it is missed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from incumbent.errors import ConfigError, DataError

CANDIDATES = ("cf", "worse", "twin", "identical")


def demo(*, candidate: str, shoppers: int | None, seed: int, port: int, directory: Path, leave: bool,
         as_json: bool) -> int:
    """Run the demo; the exit code."""
    if candidate not in CANDIDATES:
        raise DataError("no such candidate", got=candidate, expected="one of " + ", ".join(CANDIDATES),
                        field="--candidate")
    if shoppers is not None and shoppers < 1:
        raise DataError("a demo needs shoppers", got=shoppers, expected="at least 1", field="--shoppers")
    try:
        # the demo stands on top of the command line: it is found by name, never imported from below
        run: Any = importlib.import_module("incumbent.demo.run").main
    except ImportError as error:
        raise ConfigError("the demo is not installed", got=str(error), hint="pip install 'incumbent[demo]'") from None
    code = run(candidate=candidate, shoppers=shoppers, seed=seed, port=port, directory=directory, leave=leave,
               as_json=as_json)
    return code if isinstance(code, int) else 0
