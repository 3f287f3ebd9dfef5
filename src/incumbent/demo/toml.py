"""A plain tree as TOML: what the demo writes its configuration with, so that it can be read and changed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def dumps(tree: Mapping[str, Any]) -> str:
    """TOML 1.0 of nested mappings, lists of them, strings, numbers, truth values and lists; None is left out.

    >>> print(dumps({"service": {"port": 8000}, "stages": [{"share": 0.5}]}))
    [service]
    port = 8000
    <BLANKLINE>
    [[stages]]
    share = 0.5
    <BLANKLINE>
    """
    return "\n".join(_table((), tree)).lstrip("\n") + "\n"


def _table(path: tuple[str, ...], tree: Mapping[str, Any]) -> Iterator[str]:
    for key, value in tree.items():
        if value is not None and not _is_table(value):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in tree.items():
        if not _is_table(value):
            continue
        below = (*path, key)
        name = ".".join(map(_key, below))
        if isinstance(value, Mapping):
            if not value or not all(map(_is_table, value.values())):  # a table of tables alone needs no line
                yield f"\n[{name}]"
            yield from _table(below, value)
        else:
            for item in value:
                yield f"\n[[{name}]]"
                yield from _table(below, item)


def _is_table(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(item, Mapping) for item in value)


def _key(key: str) -> str:
    return key if key and all(c.isascii() and (c.isalnum() or c in "_-") for c in key) else _string(key)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, int | float):
        return repr(value)
    raise TypeError(f"no TOML for {type(value).__name__}")
