"""The configuration reference, made from the configuration itself: ``python -m incumbent.commands.reference``."""

from __future__ import annotations

import inspect
import json
import re
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from incumbent import config
from incumbent.config import sections as sections

HEAD = """# Configuration

Made from `src/incumbent/config/sections.py` by `python -m incumbent.commands.reference`; do not edit. A file
`incumbent.toml`, then the environment (`INCUMBENT_SERVICE__PORT=8001`), then flags of the command line. Everything is
validated at the start, every mistake at once: `incumbent config check`. An unknown key is an error with the nearest
known key.
"""
SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("[service]", sections.ServiceConfig), ("[stores]", sections.StoresConfig), ("[loop]", sections.LoopConfig),
    ("[limits]", sections.LimitsConfig), ("[models.NAME]", sections.ModelConfig),
    ("[surfaces.NAME]", sections.SurfaceConfig), ("[[surfaces.NAME.pinned]]", sections.PinnedConfig),
    ("[experiments.NAME]", sections.ExperimentConfig), ("[[experiments.NAME.stages]]", sections.StageConfig),
    ("[[experiments.NAME.guardrails]]", sections.GuardrailConfig),
    ("[drift]", sections.DriftConfig), ("[[drift.events]]", sections.DriftEventConfig),
    ("[drift.monitors.NAME]", sections.DriftMonitorConfig), ("[metrics]", config.MetricsConfig),
    ("[door]", config.DoorConfig), ("[text]", config.TextConfig),
)


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    own = {name: field for name, field in config.Config.model_fields.items()
           if name not in ("service", "stores", "loop", "limits", "drift", "metrics", "door", "text", "models",
                           "surfaces", "experiments")}
    parts.append("## Top level\n\n" + _table(own, _comments(config.Config)))
    for title, model in SECTIONS:
        text = inspect.cleandoc(model.__doc__ or "")
        parts.append(f"## `{title}`\n\n{text}\n\n" + _table(model.model_fields, _comments(model)))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _table(fields: dict[str, FieldInfo], comments: dict[str, str]) -> str:
    rows = ["| key | type | default | |", "|---|---|---|---|"]
    rows += [f"| `{name}` | {_type(field)} | {_default(field)} | {comments.get(name, '')} |"
             for name, field in fields.items()]
    return "\n".join(rows)


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """The comment behind each field in the source, or on the line above it."""
    source = inspect.getsource(model)
    above = {name: text for text, name in re.findall(r"^    # (.+)\n    (\w+): ", source, re.MULTILINE)}
    behind = dict(re.findall(r"^    (\w+): .*?  # (.+)$", source, re.MULTILINE))
    return {name: text.replace("|", "\\|") for name, text in {**above, **behind}.items()}


def _type(field: FieldInfo) -> str:
    limits = [f"{sign} {getattr(part, name):g}" for part in field.metadata
              for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")) if hasattr(part, name)]
    return " ".join([_name(field.annotation), ", ".join(limits)]).strip()


def _name(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is type(None):
        return "none"
    if origin is None:
        known = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
        return known.get(kind, "time with a zone" if "datetime" in str(kind).lower() else kind.__name__)
    if str(origin) == "typing.Literal":
        return ", ".join(f"`{value}`" for value in inner)
    if origin is dict:
        return f"table of {_name(inner[1])}"
    if origin is tuple:
        return f"list of {_name(inner[0])}"
    if hasattr(kind, "__metadata__"):
        return _name(inner[0])
    return " or ".join(dict.fromkeys(_name(part) for part in inner if part is not type(None)))


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, BaseModel) or (isinstance(value, tuple) and value and isinstance(value[0], BaseModel)):
        return "see below"
    if isinstance(value, Path | Enum):
        value = str(value)
    return f"`{json.dumps(value)}`"


if __name__ == "__main__":
    print(page(), end="")
