"""A comparison as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from incumbent.drift.comparison.result import Comparison, SideTold, StreamTold

ORDER = ("drift", "invalid", "no_data", "ok")


def text(found: Comparison, *, details: int = 3) -> str:
    """The verdict, a table of columns, what moved in those that drifted, and what was left out."""
    lines = [f"{found.status.upper()}: {found.reason}", "", side("baseline", found.baseline),
             side("current", found.current), ""]
    head = ["column", "kind", "status", "p", "most off", *(["why"] if any(one.why for one in found.streams) else [])]
    lines += table(head, [row(one)[:len(head)] for one in ranked(found)])
    for one in ranked(found):
        told = list(moved(one, details))
        if told:
            lines += ["", f"{one.name}:", *told]
    lines += ["", *(f"note: {note}" for note in found.notes)] if found.notes else []
    lines += ["", "not compared: " + "; ".join(f"{name} ({why})" for name, why in found.left_out)] \
        if found.left_out else []
    return "\n".join(lines)


def ranked(found: Comparison) -> list[StreamTold]:
    """The columns, drift first, each kind of status by its p-value."""
    return sorted(found.streams, key=lambda one: (ORDER.index(one.status), one.p_value or 0.0, -(one.score or 0.0)))


def side(name: str, told: SideTold) -> str:
    """One side in a line."""
    windows = f", {told.windows} windows, {told.first} to {told.last}" if told.windows > 1 else (
        f", {told.first}" if told.first != "all rows" and told.first else "")
    undated = f", {told.undated:,} without a time" if told.undated else ""
    return f"{name:9} {told.name}: {told.rows:,} rows{windows}{undated}"


def row(one: StreamTold) -> list[str]:
    """A column's line of the table."""
    first = one.components[0] if one.components else None
    return [one.name, one.kind, one.status, "" if one.p_value is None else f"{one.p_value:.3g}",
            "" if first is None else f"{first.name} {first.units}",
            one.why]


def moved(one: StreamTold, details: int) -> Iterator[str]:
    """What moved in a column that drifted."""
    if one.version is not None:
        yield f"  versions: {one.version.status} ({one.version.reason}): {one.version.detail}"
        for item in one.version.moved[:details]:
            yield f"    moved: {item.item} ({item.residual:.2f})"
    if one.status != "drift":
        return
    for name, before, after in one.figures:
        if before != after:
            yield f"  {name}: {_figure(before)} -> {_figure(after)}"
    for change in one.changes[:details]:
        yield f"  {change.reference:7.2%} -> {change.current:7.2%} {change.part:5.0%}  {change.name}"
    if one.explanation is not None:
        yield from (f"  {line}" for line in one.explanation.text(examples=details).splitlines())
    for segment in one.segments:
        if segment.mean is not None:
            d = segment.mean
            yield (f"  mean by {segment.column}: {d.change:+.4g} = {d.mix:+.4g} mix of {segment.column} "
                   f"{d.within:+.4g} within")
        for part in segment.mixes[:details]:
            felt = part.reason or f"{part.js:.4f} nats, {part.part:.0%} of the change"
            yield f"  {segment.column} {part.segment}: {felt} ({part.n:,} {'ids' if one.kind == 'ids' else 'vectors'})"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Aligned columns."""
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in [head, ["-" * width for width in widths], *rows]]


def _figure(value: float | None) -> str:
    return "missing" if value is None else f"{value:.5g}"
