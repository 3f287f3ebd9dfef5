"""lane_users: users per lane and stage in one bucket of the lake, as counts without user ids, that add over buckets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent.events.window import Window
from incumbent.experiments.experiment import definition_of, lane_shares
from incumbent.experiments.lanes import PLANNED, entries_of, groups_of, lane_at
from incumbent.loop import keys
from incumbent.stats.buckets import Buckets, bucket_of
from incumbent.stores.store import ExperimentRow, Lake

_PLANNED = pa.array(PLANNED)


class LaneUsers(Struct, frozen=True, forbid_unknown_fields=True):
    """Users of the lanes by group and lane (`lanes.groups_of`), and by entry (`lanes.entries_of`) and bucket of the
    states."""

    groups: dict[str, dict[str, int]] = {}
    entries: dict[str, dict[int, int]] = {}

    @classmethod
    def read(cls, lake: Lake, row: ExperimentRow, bucket: int) -> LaneUsers:
        """The users of one bucket of the lake since the experiment began."""
        definition = definition_of(row.definition)
        shares, salt = lane_shares(definition), definition.salt or row.name
        period = Window(row.started_at, datetime.max.replace(tzinfo=UTC))
        shown = lake.scan("impression", period, [bucket], columns=["user_id", "lane", "stage", "experiment"])
        ours = shown.filter(pc.and_(pc.equal(shown["experiment"], row.name), pc.is_in(shown["lane"], _PLANNED)))
        met: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
        seen = ours.group_by(["user_id", "stage", "lane"]).aggregate([])
        for user, stage, lane in zip(*(seen[name].to_pylist() for name in ("user_id", "stage", "lane")), strict=True):
            met[user].setdefault(stage, []).append(lane)
        groups: defaultdict[str, Counter[str]] = defaultdict(Counter)
        entries: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for (user, stages), at in zip(met.items(), bucket_of(met, keys.BUCKETS).tolist(), strict=True):
            for group, lane in groups_of(stages):
                groups[group][lane] += 1
            for entry in entries_of(stages, user, salt, shares):
                entries[entry][at] += 1
        return cls({group: dict(lanes) for group, lanes in groups.items()},
                   {entry: dict(users) for entry, users in entries.items()})


def groups(parts: Iterable[LaneUsers]) -> dict[str, dict[str, int]]:
    """Users by group and lane over all parts: what the sample ratio is asked of."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for part in parts:
        for group, lanes in part.groups.items():
            found[group].update(lanes)
    return {group: dict(lanes) for group, lanes in found.items()}


def assigned(parts: Iterable[LaneUsers], stage: str) -> dict[str, Buckets]:
    """The users of each lane of a stage, whoever was met in any stage so far, as a state: a row each, by the same
    buckets of users as the rolled-up states."""
    found: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for part in parts:
        for entry, users in part.entries.items():
            found[lane_at(entry, stage)].update(users)
    return {lane: _state(users) for lane, users in found.items()}


def _state(users: Mapping[int, int]) -> Buckets:
    counts = np.zeros(keys.BUCKETS, np.int64)
    for bucket, count in users.items():
        counts[bucket] = count
    return Buckets({"k": keys.BUCKETS, "variables": ["users"]}, rows=counts, missing=0, sums=counts[:, None])
