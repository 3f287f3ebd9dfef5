"""Every mistake of a configuration at once: its path, what is wrong, what was got, and the nearest known key."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from incumbent.errors import Quoted, near, shorten

_ROUNDS = 6  # a mistake can hide another; pruning what was reported brings it out


def collect(
    tree: dict[str, Any], validate: Callable[[dict[str, Any]], Any], root: type[BaseModel]
) -> tuple[Any, dict[str, str]]:
    """Validate a tree again and again without what was wrong; the result, None where it never passed, and path -> line.

    What was wrong falls back to its default, so that the checks that go across sections find their mistakes too.
    """
    tree, found, seen = copy.deepcopy(tree), dict[str, str](), set[tuple[tuple[Any, ...], bool]]()
    for _ in range(_ROUNDS):
        try:
            return validate(tree), found
        except ValidationError as error:
            wrong: dict[tuple[Any, ...], list[Any]] = {}
            for item in error.errors():
                wrong.setdefault(_place(tree, item), []).append(item)
            for place, items in wrong.items():
                found.setdefault(".".join(map(str, place)), _line(place, items, root))
            for place in sorted(wrong, key=_order, reverse=True):  # of a list the last first
                missing = wrong[place][0]["type"] == "missing"
                again = (place, missing) in seen  # neither a default nor a name helped: take out its whole section
                _prune(tree, place[:-1] if again else place, missing=missing and not again)
                seen.add((place, missing))
    return None, found


def _order(place: tuple[Any, ...]) -> list[tuple[int, str]]:
    return [(part, "") if isinstance(part, int) else (-1, str(part)) for part in place]


def under(path: str, paths: Iterable[str]) -> bool:
    """True where a path, or a section that it lies in, is among the paths."""
    return any(path == other or path.startswith(f"{other}.") for other in paths)


def not_configured(path: str, got: str, known: Iterable[str]) -> str:
    """The line of a name that refers to nothing."""
    listed = ", ".join(sorted(known)) or "none is"
    return f"{path}: not configured. Got {shorten(got)}. Expected one of {listed}.{did_you_mean(got, known)}"


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """`` Hint: did you mean 'port'?``, or nothing where nothing is near."""
    hint = near(got, known)
    return f" Hint: {hint}" if hint else ""


def stray_variables(environ: Mapping[str, str], prefix: str, sections: Iterable[str]) -> list[str]:
    """The lines of variables that look like ours and name no section.

    >>> stray_variables({"SHOP_SERVCE__PORT": "1", "SHOP_KEY": "x"}, "SHOP_", ["service", "stores"])
    ["SHOP_SERVCE__PORT: unknown section. Hint: did you mean 'SHOP_SERVICE__PORT'?"]
    """
    lines, known = [], set(sections)
    for name in sorted(environ):
        section, nested, rest = name.upper().removeprefix(prefix).partition("__")
        if name.upper().startswith(prefix) and nested and section.lower() not in known:
            full = [f"{prefix}{key.upper()}__{rest}" for key in known]
            lines.append(f"{name}: unknown section.{did_you_mean(name.upper(), full)}")
    return lines


def _place(tree: Any, item: Any) -> tuple[Any, ...]:
    """The part of an error's location that exists in the tree (a union adds its members, a dict key ``[key]``)."""
    place: list[Any] = []
    for part in item["loc"]:
        inside = part in tree if isinstance(tree, dict) else isinstance(part, int) and isinstance(tree, list | tuple)
        if not inside:
            return (*place, part) if item["type"] == "missing" else tuple(place)
        place.append(part)
        tree = tree[part]
    return tuple(place)


def _line(place: tuple[Any, ...], items: list[Any], root: type[BaseModel]) -> str:
    item, path = items[0], ".".join(map(str, place))
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown key.{did_you_mean(str(place[-1]), _known(place[:-1], root))}"
    messages = dict.fromkeys(part["msg"][0].lower() + part["msg"][1:] for part in items)
    message = " or ".join(text if i == 0 else text.removeprefix("input should be ") for i, text in enumerate(messages))
    got = "" if item["type"] == "missing" else f" Got {shorten(item['input'])}."
    return f"{path}: {message}.{got}"


def _prune(tree: Any, place: tuple[Any, ...], *, missing: bool) -> None:
    """Take out what is wrong; what is missing gets a name that stands for any."""
    for part in place[:-1]:
        if not isinstance(tree, dict | list) or (isinstance(tree, dict) and part not in tree):
            return
        tree = tree[part]
    if not place:
        return
    if isinstance(tree, dict):
        if missing:
            tree[place[-1]] = "_"
        else:
            tree.pop(place[-1], None)
    elif isinstance(tree, list) and place[-1] < len(tree):
        del tree[place[-1]]


def _known(location: tuple[Any, ...], root: type[BaseModel]) -> list[str]:
    """The keys known at a path, found by walking the model classes."""
    model: Any = root
    for part in location:
        fields = getattr(model, "model_fields", None)
        if isinstance(part, int) or fields is None or part not in fields:
            continue  # a place in a list, or a free name, as of a surface
        model = _inner(fields[part].annotation)
    return list(getattr(model, "model_fields", ()))


def _inner(annotation: Any) -> Any:
    """The section class inside ``dict[str, X]`` and ``tuple[X, ...]``, or the annotation itself."""
    for argument in getattr(annotation, "__args__", ()):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument
    return annotation


def not_toml(message: str, text: str) -> str:
    """What the parser says, with what the line that it is about begins with: a key or a section, never a value.

    >>> not_toml("Expected ']' at the end of a table declaration (at line 2, column 9)", "# shop\\n[service\\n")
    "Expected ']' at the end of a table declaration (at line 2, column 9): [service"
    >>> not_toml("Invalid value (at line 1, column 9)", "secret = s3cr3t\\n")
    'Invalid value (at line 1, column 9): secret'
    >>> not_toml("Unclosed array (at end of document)", "a = [\\n")
    'Unclosed array (at end of document), line 2'
    """
    found = re.search(r"\(at line (\d+), column \d+\)", message)
    if found is None:
        return message + (f", line {len(text.splitlines()) + 1}" if "end of document" in message else "")
    lines, at = text.replace("\r\n", "\n").split("\n"), int(found[1]) - 1
    begins = re.match(r"\s*(\[{1,2}[\w.-]+|[\w.-]+(?=\s*[=:]))", lines[at]) if at < len(lines) else None
    try:
        tomllib.loads("\n".join(lines[:at]))
    except tomllib.TOMLDecodeError:  # the line lies in a value that began before it
        return message
    return f"{message}: {shorten(Quoted(begins[1]))}" if begins else message
