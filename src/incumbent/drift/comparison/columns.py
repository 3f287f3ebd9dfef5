"""Which columns are compared, as what, and why the others are not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from incumbent.drift.comparison.options import Options
from incumbent.drift.frames.source import Column, Source, known
from incumbent.errors import DataError

#: id, user_id, UserID, userId; no BID, no PAID
_ID = re.compile(r"^id$|[_.-]id$|(?-i:(?<=[a-z0-9])I[dD]$)", re.IGNORECASE)
#: what a column is read as
KINDS = {"vector": "vector", "number": "number", "text": "ids"}


@dataclass
class Chosen:
    """Column -> ``vector``, ``number`` or ``ids``; columns that should be compared and cannot; columns left out."""

    kinds: dict[str, str] = field(default_factory=dict)
    broken: dict[str, tuple[str, str]] = field(default_factory=dict)  # kind, reason
    left_out: dict[str, str] = field(default_factory=dict)


def choose(old: Source, new: Source, options: Options) -> Chosen:
    """What both sides are compared by. `DataError` for named columns that are not there, and where nothing is left.

    Numbers in a column named as ids or items, or whose name is ``id`` or ends in ``_id`` or ``Id``, are ids. Times and
    other types are left out, with the reason.
    """
    for name, option in options.named:
        known([name], old, option)
        if option not in ("columns", "ids", "ignore"):
            known([name], new, option)
    made = Chosen()
    for name in options.columns or old.columns:
        if name in options.ignore or (name in (options.time, *options.segments) and not options.columns):
            made.left_out[name] = "ignored" if name in options.ignore else (
                "cuts the windows" if name == options.time else "a segment")
        elif name == options.title and options.item is not None and not options.columns:
            made.left_out[name] = "a title"
        else:
            _place(made, name, old.columns[name], new.columns.get(name), options)
    made.left_out |= {name: "only the current side has it" for name in new.columns if name not in old.columns}
    if not made.kinds and not made.broken:
        raise DataError("there is nothing to compare", got=made.left_out or "no columns",
                        expected="vectors, numbers or text in both", field="columns")
    return made


def _place(made: Chosen, name: str, ours: Column, theirs: Column | None, options: Options) -> None:
    kind = KINDS.get(ours.kind)
    if kind == "number" and (name in (*options.ids, options.item, options.category) or _like_an_id(name)):
        kind = "ids"
    if kind is None:
        why = "a time" if ours.kind == "time" else f"of type {ours.type}"
        if options.columns:
            made.broken[name] = (ours.kind, f"{why} is neither a vector, a number nor an id")
        else:
            made.left_out[name] = why
    elif theirs is None:
        made.broken[name] = (kind, "the current side has no such column")
    elif kind == "vector" and None not in (ours.dimension, theirs.dimension) and ours.dimension != theirs.dimension \
            and theirs.kind == "vector" and not options.versions:
        made.broken[name] = (kind, f"the current vectors have {theirs.dimension} dimensions, those of the baseline "
                                   f"{ours.dimension}: another version of the space needs a baseline of its own")
    elif not _alike(kind, theirs):
        made.broken[name] = (kind, f"the current side holds {theirs.type}, the baseline {ours.type}")
    elif options.asked(kind) == ():
        made.left_out[name] = f"no statistic of {kind} columns was asked for"
    else:
        made.kinds[name] = kind


def _alike(kind: str, theirs: Column) -> bool:
    if theirs.type == "null":  # nothing but missing values: that is for the detector to say
        return kind != "vector"
    return theirs.kind in (("number", "text") if kind == "ids" else (kind,))


def _like_an_id(name: str) -> bool:
    return _ID.search(name) is not None
