"""Two versions of a space in a comparison: items of both sides are the anchors, and the baseline is carried over."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from incumbent.drift.comparison.items import Things, paired
from incumbent.drift.comparison.options import Options
from incumbent.drift.comparison.result import StreamTold, VersionTold
from incumbent.drift.comparison.states import Side
from incumbent.drift.comparison.streams import Embedding, Stream
from incumbent.drift.frames.source import Source
from incumbent.drift.moved_items import moved_items
from incumbent.drift.versions import VersionCheck, compare_versions, transported
from incumbent.stats.pairs import Pairs
from incumbent.stats.vectors import Vectors


def settle(
    streams: MutableMapping[str, Stream], told: MutableMapping[str, StreamTold], old: Side, new: Source,
    things: tuple[Things, Things], options: Options,
) -> None:
    """Read the current items, and judge every vector column as a new version of the baseline's.

    A rotation carries the baseline over: the stream goes on in the rotated frame. Otherwise it is told here and leaves:
    drift with the items that moved, or no_data (``version_warmup``).
    """
    for batch in new.batches(list(dict.fromkeys(things[1].columns))):
        things[1].add(batch)
    for name, stream in list(streams.items()):
        if not isinstance(stream, Embedding):
            continue
        check, version = _checked(name, stream.zero.frame.dimension, things)
        if check is not None and check.status == "ok" and check.alignment is not None:
            for states in old.states.values():
                states[name] = transported(states[name], check.alignment)
            for parts in old.segments.values():
                for states in parts.values():
                    states[name] = transported(states[name], check.alignment)
            stream.zero = Vectors.zero(**next(iter(old.states.values()))[name].config)
            told[name] = StreamTold(name, stream.kind, "ok", version.detail, version=version)
            continue
        streams.pop(name)
        told[name] = StreamTold(name, stream.kind, version.status, f"{version.reason}: {version.detail}",
                                version=version)


def _checked(name: str, dimension: int, things: tuple[Things, Things]) -> tuple[VersionCheck | None, VersionTold]:
    ours: Any = things[1].vectors(name)
    pairs = paired(*things, name)
    if pairs is None or ours is None:
        return None, VersionTold("invalid", "unreadable", "the vectors of one side cannot be read", 0, None)
    titles, before, after = pairs
    if ours.shape[1] != dimension:
        check = compare_versions(None, old_dimension=dimension, new_dimension=ours.shape[1])
        return check, VersionTold(check.status, check.reason, check.detail, 0, None)
    sums = Pairs.zero(dimension=dimension, old_version="baseline", new_version="current").update(before, after)
    check = compare_versions(sums, old_dimension=dimension, new_dimension=dimension)
    moved = moved_items(titles, before, after, check.alignment) if check.alignment is not None else []
    return check, VersionTold(check.status, check.reason, check.detail, int(sums.n), check.moved, tuple(moved))
