"""space_versions: a new version of an embedding space is held against the baseline's by the items that both have.

A rotation carries the baseline over: its frame is turned, its windows are read through the rotation, and the new
version is judged as if nothing had happened. Items that changed places are a drift, said with their titles. Too few
anchors or another dimension is no_data, `version_warmup`, until there are enough or a baseline of the new version
stands.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.drift.moved_items import moved_items
from incumbent.drift.versions import VersionCheck, compare_versions, transported_frame
from incumbent.errors import DataError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Finding
from incumbent.loop.drift import latest_vectors, names
from incumbent.loop.drift.anchors import anchors, dimension_of
from incumbent.loop.drift.baselines import ABOUT, FRAME, Baseline, active, json_part, turn_part
from incumbent.loop.drift.facts import Catalogue
from incumbent.loop.drift.frames import Frame
from incumbent.loop.enact import news
from incumbent.loop.leases import Held
from incumbent.stats.pairs import Pairs
from incumbent.stores.store import BaselinePart, Control, Lake

CURSOR = "drift/versions"
MOVED = 10  # items that a finding names


class Told(Struct, frozen=True):
    """What was said of the new versions of a baseline, and of which version of the table of latest vectors; `last`
    holds the time of the last vector of every version."""

    baseline: str = ""
    seen: int = -1
    status: dict[str, str] = {}
    last: dict[str, datetime] = {}


class Checked(Struct, frozen=True):
    """What a run did: the versions that were compared, and the findings that were stored."""

    compared: int = 0
    findings: tuple[Finding, ...] = ()
    stopped: str | None = None


class SpaceVersions:
    """Compares versions; one process at a time, under the lease `drift/versions`. May be repeated at any step."""

    def __init__(self, lake: Lake, control: Control, clock: Clock, *, holder: str = "loop",
                 lease_s: float = 30.0) -> None:
        self._lake, self._control, self._clock = lake, control, clock
        self._holder, self._lease_s = holder, lease_s

    def run_once(self) -> Checked:
        """Look at every version that the baseline in force does not hold, where vectors came since the last look."""
        with Held(self._control, self._clock, CURSOR, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Checked(stopped="another process holds the lease")
            baseline = active(self._control)
            if baseline is None:
                return Checked()
            told, table = self._told(baseline), self._lake.changes("latest_vector", -1)[0]
            if told.seen == table:
                return Checked()
            compared, findings, status, last = 0, [], dict(told.status), dict[str, datetime]()
            for space, entity, version, newest in latest_vectors.versions(self._lake):
                name = names.stream("embeddings", space, entity, version)
                last[name] = newest
                about = baseline.about.get(name)
                if about is not None and (about.carried_from is None or status.get(name) == "ok"):
                    continue
                old = _newest(baseline, space, entity)
                if old is None:
                    continue
                compared += 1
                finding, parts = self._compare(baseline, name, (space, entity, version), old)
                self._control.add_parts(baseline.row.name, baseline.row.version, parts)
                if status.get(name) != finding.status:
                    findings.append(finding)
                status[name] = finding.status
            self._conclude(findings, Told(baseline.id, table, status, last))
        return Checked(compared, tuple(findings))

    def _told(self, baseline: Baseline) -> Told:
        kept = self._control.cursor(CURSOR)
        told = Told() if kept is None else msgspec.json.decode(kept, type=Told)
        return told if told.baseline == baseline.id else Told(baseline.id)

    def _compare(self, baseline: Baseline, name: str, place: tuple[str, str, str],
                 old: str) -> tuple[Finding, list[BaselinePart]]:
        """What the new version is to the old one, and, where it is a rotation, its part of the baseline."""
        space, entity, version = place
        before = latest_vectors.latest(self._lake, space, names.parts_of(old)[3], entity)
        after = latest_vectors.latest(self._lake, space, version, entity)
        dimension = baseline.frames[old].zero.frame.dimension
        mine = dimension_of(after)
        ids, x, z = anchors(before, after, dimension, mine)
        pairs = Pairs.zero(dimension=dimension, old_version=names.parts_of(old)[3], new_version=version)
        try:
            check = compare_versions(pairs.update(x, z) if mine == dimension and len(ids) else None,
                                     old_dimension=dimension, new_dimension=mine)
        except DataError as error:
            check = VersionCheck("no_data", "version_warmup", str(error))
        parts = _carried(baseline, old, name, check, self._clock.now()) if check.status == "ok" else []
        evidence: dict[str, Any] = {
            "baseline": {"name": baseline.row.name, "version": baseline.row.version, "hash": baseline.row.hash},
            "old": old, "anchors": len(ids), "moved": check.moved, "reason": check.reason}
        if check.status == "drift" and check.alignment is not None:
            evidence["explanation"] = self._moved(entity, ids, x, z, check)
        severity: Any = "ticket" if check.status == "drift" else "info"
        return Finding(event_id=EventIds(self._clock).new(), time=self._clock.now(), subject=f"stream:{name}",
                       check="drift:version", status=check.status, severity=severity,
                       reason=f"{check.reason}: {check.detail}", evidence=evidence), parts

    def _moved(self, entity: str, ids: list[str], x: Any, z: Any, check: VersionCheck) -> dict[str, Any]:
        assert check.alignment is not None
        facts = Catalogue(self._lake).at(self._clock.now())
        titles = facts.titles(ids) if entity == "item" else dict.fromkeys(ids, "(not told)")
        found = moved_items(ids, x, z, check.alignment, count=MOVED)
        rows = [{"id": one.item if entity == "item" else None, "title": titles[one.item], "residual": one.residual}
                for one in found]
        return {"text": "moved furthest: " + "; ".join(str(row["title"]) for row in rows), "items": rows}

    def _conclude(self, findings: list[Finding], told: Told) -> None:
        cursor = (CURSOR, msgspec.json.encode(told).decode())
        if not findings:
            self._control.set_cursor(*cursor)
            return
        self._control.conclude(findings[0], also=findings[1:], outbox=news(EventIds(self._clock), findings),
                               cursor=cursor)


def _newest(baseline: Baseline, space: str, entity: str) -> str | None:
    """The stream of the baseline's own version of a space, the last one seen where there are several."""
    own = [(about.last, name) for name, about in baseline.about.items()
           if about.carried_from is None and name.startswith(names.stream("embeddings", space, entity) + "/")]
    return max(own, default=(None, None), key=lambda one: (str(one[0]), one[1]))[1]


def _carried(baseline: Baseline, old: str, name: str, check: VersionCheck, now: datetime) -> list[BaselinePart]:
    """The old version's frame, turned into the new version's space, and the rotation by which its windows are read."""
    assert check.alignment is not None
    about = msgspec.structs.replace(baseline.about[old], carried_from=old, carried_at=now,
                                    note=f"carried over from {old}: {check.detail}")
    frame = Frame("vectors", {"config": transported_frame(baseline.frames[old].zero.frame, check.alignment).plain})
    return [json_part(name, ABOUT, msgspec.json.encode(about)), json_part(name, FRAME, frame.data),
            turn_part(name, check.alignment.rotation)]
