"""Rewrites of an index under one version's name: items that changed places are a drift, a mere rewrite is nothing."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.clock import EPOCH, Clock
from incumbent.drift.versions import ANCHORS_PER_DIMENSION, VersionCheck, compare_versions
from incumbent.errors import DataError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Finding
from incumbent.loop.drift import names
from incumbent.loop.drift.anchors import anchors, dimension_of
from incumbent.loop.drift.facts import Catalogue
from incumbent.loop.enact import news
from incumbent.loop.rollup import state_row
from incumbent.loop.tallies import parts
from incumbent.stats.pairs import Pairs
from incumbent.stores.store import Control, Lake, Partition

CURSOR = "drift/rewrites"
FURTHEST = "drift/rewrites/furthest"
#: where the pairs that wait stand in Control
WAITING, FAMILY, SHARD = "rewrites/", "drift-rewrites", Partition(EPOCH.date(), 0)
MOVED = 10  # items that a finding names
QUIET = timedelta(days=1)  # after a ticket for a version, before the next


@dataclass(eq=False)
class _Held:
    """The pairs of one version that are not judged yet, and who moved furthest among them."""

    pairs: Pairs
    furthest: list[tuple[float, str]] = field(default_factory=list)


class Rewrites:
    """Sums (standing vector, fresh vector) of each item within its version, and judges them by `compare_versions`.

    Of items alone: a shopper's vector is meant to move. The sums, 8 d^2 bytes a version, wait in Control until they
    hold the anchors that a judgement takes (5 for each dimension), and begin afresh after it; a process that dies
    within a day's vectors loses the pairs of that day.
    """

    def __init__(self, lake: Lake, control: Control, clock: Clock) -> None:
        self._lake, self._control, self._clock = lake, control, clock
        self._held: dict[str, _Held] = {}
        self._kept = dict(self._held)

    def load(self) -> None:
        """Go on with the pairs that wait, whoever summed them."""
        furthest = msgspec.json.decode(self._control.cursor(FURTHEST) or "{}", type=dict[str, list[tuple[float, str]]])
        self._held = {name: _Held(Pairs.from_bytes(row.data), furthest.get(name, []))
                      for row in self._control.range(WAITING) for name in (row.key.removeprefix(WAITING),)}
        self._kept = dict(self._held)

    def add(self, stands: pa.Table, fresh: pa.Table) -> None:
        """Vectors that take the place of others of their item and version."""
        for group, rows in parts(fresh, ["space", "entity", "version"]):
            if group["entity"] != "item":
                continue
            before = stands
            for name, value in group.items():
                before = before.filter(pc.equal(before[name], value))
            dimension = dimension_of(rows)
            ids, x, z = anchors(before, rows, dimension, dimension)
            if not ids:
                continue
            name = names.stream("embeddings", *group.values())
            version = group["version"] or "(none)"
            held = self._held.get(name)
            if held is None or held.pairs.dimension != dimension:
                held = _Held(Pairs.zero(dimension=dimension, old_version=version, new_version=version))
            far = np.square(z.astype(np.float64) - x).sum(axis=1)
            self._held[name] = _Held(held.pairs.update(x, z), heapq.nlargest(MOVED, [
                *held.furthest, *((float(one), who) for one, who in zip(far, ids, strict=True) if one > 0)]))

    def judged(self) -> tuple[Finding, ...]:
        """What moved, as stored findings, one a version and day; and the pairs that go on waiting, kept."""
        told = msgspec.json.decode(self._control.cursor(CURSOR) or "{}", type=dict[str, datetime])
        now, findings = self._clock.now(), []
        for name, held, check in self._checks():
            if check.status == "drift" and not (name in told and now < told[name] + QUIET):
                findings.append(self._finding(name, held, check))
                told[name] = now
        if findings:
            self._control.conclude(findings[0], also=findings[1:], outbox=news(EventIds(self._clock), findings),
                                   cursor=(CURSOR, msgspec.json.encode(told).decode()))
        if self._held != self._kept:
            furthest = msgspec.json.encode({name: held.furthest for name, held in self._held.items()}).decode()
            self._control.put(SHARD.day, SHARD.bucket, FAMILY, [
                state_row(WAITING + name, SHARD, held.pairs) for name, held in sorted(self._held.items())],
                (FURTHEST, furthest))
            self._kept = dict(self._held)
        return tuple(findings)

    def _checks(self) -> Iterator[tuple[str, _Held, VersionCheck]]:
        for name, held in sorted(self._held.items()):
            dimension = held.pairs.dimension
            if int(held.pairs.n) >= ANCHORS_PER_DIMENSION * dimension:
                del self._held[name]
                try:
                    yield name, held, compare_versions(held.pairs, old_dimension=dimension, new_dimension=dimension)
                except DataError:  # vectors that are all alike have no places to change
                    continue

    def _finding(self, name: str, held: _Held, check: VersionCheck) -> Finding:
        titles = Catalogue(self._lake).at(self._clock.now()).titles([who for _, who in held.furthest])
        rows: list[dict[str, Any]] = [{"id": who, "title": titles[who], "distance": far**0.5}
                                      for far, who in held.furthest]
        return Finding(
            event_id=EventIds(self._clock).new(), time=self._clock.now(), subject=f"stream:{name}",
            check="drift:version", status="drift", severity="ticket", reason=f"{check.reason}: {check.detail}",
            evidence={"anchors": int(held.pairs.n), "moved": check.moved, "reason": check.reason, "explanation": {
                "text": "moved furthest: " + "; ".join(row["title"] for row in rows), "items": rows}})


def told(control: Control) -> frozenset[str]:
    """The streams of which a rewrite was told."""
    return frozenset(msgspec.json.decode(control.cursor(CURSOR) or "{}", type=dict[str, datetime]))
