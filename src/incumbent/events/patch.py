"""JSON Patch: a list of operations that turns one JSON document into another. How a person mends a message.

Source: RFC 6902 (JSON Patch) over RFC 6901 (JSON Pointer). The document that is given is never changed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from incumbent.errors import DataError

MOST = 524_288  # bytes: four events of the largest size that is let in by default
_NEEDS = {"add": "value", "replace": "value", "test": "value", "remove": None, "move": "from", "copy": "from"}


def patch(document: Any, operations: Sequence[Mapping[str, Any]], *, most: int = MOST) -> Any:
    """`document` with all operations applied in their order; `DataError` where one cannot be, and then none is.

    All that is copied and added may come to `most` bytes as MessagePack, whether or not it stays: copies of copies
    would double with every operation.

    >>> patch({"price": "12", "v": [1, 3]}, [{"op": "move", "from": "/price", "path": "/value"},
    ...                                      {"op": "add", "path": "/v/1", "value": 2}])
    {'v': [1, 2, 3], 'value': '12'}
    >>> patch({"a": 1}, [{"op": "remove", "path": "/b"}])
    Traceback (most recent call last):
    ...
    incumbent.errors.DataError: patch[0]: there is nothing at the path. Got '/b'.
    """
    found, left = copy.deepcopy(document), most
    for index, operation in enumerate(checked(operations)):
        try:
            left -= _grows(found, operation)
            if left < 0:
                raise DataError(f"patch[{index}]: the patch copies and adds too much", got=f"over {most} bytes",
                                expected=f"at most {most} bytes in all", field=f"patch[{index}]")
            found = _apply(found, operation)
        except (KeyError, IndexError, ValueError, TypeError):
            raise DataError(f"patch[{index}]: there is nothing at the path", got=operation.get("path")) from None
        except _DiffersError as error:
            raise DataError(f"patch[{index}]: the test fails", got=error.args[0],
                            expected=repr(operation["value"])) from None
    return found


def checked(operations: Any) -> Sequence[Mapping[str, Any]]:
    """The operations, or a `DataError` that names the first that is none.

    >>> checked([{"op": "drop", "path": "/a"}])
    Traceback (most recent call last):
    ...
    incumbent.errors.DataError: patch[0] is no operation. Got {'op': 'drop', 'path': '/a'}. Expected op, one of add, \
copy, move, remove, replace, test, a path, and what the op needs.
    """
    if not isinstance(operations, list | tuple):
        raise DataError("a JSON Patch is a list of operations", got=operations, expected='[{"op": ..., "path": ...}]')
    for index, operation in enumerate(operations):
        sound = isinstance(operation, Mapping) and operation.get("op") in _NEEDS and _pointer(operation.get("path"))
        if sound:
            needs = _NEEDS[operation["op"]]
            sound = needs is None or (needs in operation and (needs != "from" or _pointer(operation["from"])))
        if not sound:
            raise DataError(f"patch[{index}] is no operation", got=operation, expected=(
                f"op, one of {', '.join(sorted(_NEEDS))}, a path, and what the op needs"), field=f"patch[{index}]")
    return operations


class _DiffersError(Exception):
    """A test found another value."""


def _pointer(path: Any) -> bool:
    return isinstance(path, str) and (path == "" or path.startswith("/"))


def _keys(path: str) -> list[str]:
    return [key.replace("~1", "/").replace("~0", "~") for key in path.split("/")[1:]]


def _grows(document: Any, operation: Mapping[str, Any]) -> int:
    """The bytes that an operation copies or adds."""
    if operation["op"] not in ("add", "copy", "replace"):
        return 0
    value = _at(document, _keys(operation["from"])) if operation["op"] == "copy" else operation["value"]
    try:
        return len(msgspec.msgpack.encode(value))
    except OverflowError as error:
        raise DataError("a value of the patch does not fit", got=str(error), expected="integers of 64 bits") from None


def _apply(document: Any, operation: Mapping[str, Any]) -> Any:
    op, path = operation["op"], operation["path"]
    if op == "test":
        if not _equal(found := _at(document, _keys(path)), operation["value"]):
            raise _DiffersError(found)
        return document
    if op in ("move", "copy"):
        source = operation["from"]
        value = _at(document, _keys(source))
        if op == "copy":
            return _with(document, _keys(path), copy.deepcopy(value))
        if path.startswith(f"{source}/"):
            raise ValueError("a value cannot move into itself")
        return _with(_without(document, _keys(source)), _keys(path), value)
    if op == "remove":
        return _without(document, _keys(path))
    if op == "replace":
        _at(document, _keys(path))  # it must be there
        return _with(_without(document, _keys(path)), _keys(path), copy.deepcopy(operation["value"]))
    return _with(document, _keys(path), copy.deepcopy(operation["value"]))


def _equal(one: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _at(document: Any, keys: list[str]) -> Any:
    for key in keys:
        document = document[_index(key, len(document) - 1)] if isinstance(document, list) else document[key]
    return document


def _with(document: Any, keys: list[str], value: Any) -> Any:
    if not keys:
        return value
    parent = _at(document, keys[:-1])
    if isinstance(parent, list):
        parent.insert(len(parent) if keys[-1] == "-" else _index(keys[-1], len(parent)), value)
    else:
        _dict(parent)[keys[-1]] = value
    return document


def _without(document: Any, keys: list[str]) -> Any:
    if not keys:
        return None
    parent = _at(document, keys[:-1])
    if isinstance(parent, list):
        del parent[_index(keys[-1], len(parent) - 1)]
    else:
        del _dict(parent)[keys[-1]]
    return document


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("neither an object nor a list")
    return value


def _index(key: str, last: int) -> int:
    if not (key.isascii() and key.isdigit()) or (len(key) > 1 and key[0] == "0") or int(key) > last:
        raise IndexError(key)
    return int(key)


def patcher(operations: Any) -> Callable[[Any], Any]:
    """The operations, checked, as a function of a document."""
    sound = checked(operations)
    return lambda document: patch(document, sound)
