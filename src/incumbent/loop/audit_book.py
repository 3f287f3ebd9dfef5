"""audit_book: the coin audit over the whole lake, kept up shard by shard, so that a look costs only what is new.

Per (day, user bucket) shard the book holds how many rows it has read, up to which time, and their tally. A shard that
changed is read on from that time; where the numbers do not add up (late or erased rows) it is read again, whole. Per
user bucket of the lake it holds the users per lane and stage (`lane_users`), counted over all days; buckets that
changed are counted again, the longest uncounted first and some at each look, as counting reads all days; and it
remembers the rankings that callers named, so that each is one draw of coins however often it comes: so many per bucket,
and beyond them the tally says how many pages it leaves out of parity. The book stands in
Control under the cursor ``audit/EXPERIMENT``; it holds counts and digests, no user ids.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from operator import add

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent.events.window import Window
from incumbent.experiments.audit import Auditor, Rankings, Tally
from incumbent.loop import lane_users
from incumbent.loop.lane_users import LaneUsers
from incumbent.stats.buckets import Buckets
from incumbent.stores.columns import from_arrow
from incumbent.stores.store import Control, ExperimentRow, Lake

RECOUNT = 4  # buckets whose users are counted again at one look
BATCH_ROWS = 20_000  # impressions held in memory at a time
FORM = 3  # of the book; raise it where what it holds changes its meaning
_TICK = timedelta(microseconds=1)


class Shard(Struct, frozen=True):
    """One shard as it was read: all its rows (also those of other experiments), up to a time, and the tally."""

    rows: int = 0
    until: datetime | None = None  # exclusive
    tally: Tally = Tally()


class Book(Struct, frozen=True):
    """The shards by ``DAY/BUCKET``, as of one version of the lake's impressions, and users per lane by bucket."""

    version: int = -1
    shards: dict[str, Shard] = {}
    lanes: dict[str, LaneUsers] = {}  # by bucket of the lake
    stale: list[str] = []  # buckets that changed since their users were counted, the longest first
    rankings: dict[str, dict[str, str]] = {}  # bucket of the lake -> digest -> day first seen
    form: int = FORM

    @property
    def tally(self) -> Tally:
        """The totals over all shards."""
        return reduce(add, (shard.tally for shard in self.shards.values()), Tally())

    @property
    def groups(self) -> dict[str, dict[str, int]]:
        """Users by group and lane, over all buckets: what the sample ratio is asked of."""
        return lane_users.groups(self.lanes.values())

    def assigned(self, stage: str) -> dict[str, Buckets]:
        """The users of each lane of a stage as a state, a row each."""
        return lane_users.assigned(self.lanes.values(), stage)


def bring_up(lake: Lake, control: Control, row: ExperimentRow) -> Book:
    """Audit what the lake has new of one experiment, keep the book, and return it."""
    name = f"audit/{row.name}"
    kept = control.cursor(name)
    book = _read(kept)
    version, changed = lake.changes("impression", book.version)
    if version == book.version and not book.stale:
        return book
    shards = dict(book.shards)
    days: dict[date, list[int]] = defaultdict(list)
    for partition in sorted(changed):
        if Window.of_day(partition.day).end > row.started_at:
            days[partition.day].append(partition.bucket)
    auditor = Auditor(row.name, control.plan)
    rankings = {bucket: Rankings(seen) for bucket, seen in book.rankings.items()}
    for day, buckets in days.items():
        shards.update(_read_day(lake, auditor, day, buckets, book.shards, rankings))
    stale = list(dict.fromkeys([*book.stale, *(str(bucket) for buckets in days.values() for bucket in buckets)]))
    due = [bucket for bucket in stale if bucket not in book.lanes] or stale[:RECOUNT]
    lanes = book.lanes | {bucket: LaneUsers.read(lake, row, int(bucket)) for bucket in due}
    book = Book(version, {key: shard for key, shard in shards.items() if shard.rows}, lanes,
                [bucket for bucket in stale if bucket not in due],
                {bucket: known.seen for bucket, known in rankings.items() if known.seen})
    control.set_cursor(name, msgspec.json.encode(book).decode())
    return book


def _read(kept: str | None) -> Book:
    """The book as it was kept; one of another form is begun again."""
    try:
        book = Book() if kept is None else msgspec.json.decode(kept, type=Book)
    except msgspec.ValidationError:
        return Book()
    return book if book.form == FORM else Book()


def _read_day(
    lake: Lake, auditor: Auditor, day: date, buckets: list[int], known: Mapping[str, Shard],
    rankings: dict[str, Rankings],
) -> dict[str, Shard]:
    """The shards of one day brought up to what the lake holds."""
    window = Window.of_day(day)
    there = Counter(lake.scan("impression", window, buckets, columns=["bucket"])["bucket"].to_pylist())
    before = {bucket: known.get(f"{day}/{bucket}", Shard()) for bucket in buckets}
    out: dict[str, Shard] = {}
    for group in _groups(buckets, {bucket: there[bucket] - before[bucket].rows for bucket in buckets}):
        starts = [before[bucket].until or window.start for bucket in group]
        rows = lake.scan("impression", Window(min(starts), window.end), group)
        for bucket, start in zip(group, starts, strict=True):
            fresh = rows.filter(pc.and_(pc.equal(rows["bucket"], bucket), pc.greater_equal(rows["time"], start)))
            shard = before[bucket]
            seen = rankings.setdefault(str(bucket), Rankings())
            if shard.rows + fresh.num_rows != there[bucket]:
                shard, fresh = Shard(), lake.scan("impression", window, [bucket])
                seen.forget(str(day))
            out[f"{day}/{bucket}"] = _add(auditor, shard, fresh, seen)
    return out


def _groups(buckets: Iterable[int], rows: Mapping[int, int]) -> Iterator[list[int]]:
    """The buckets in runs whose new rows fit into one batch, at least one bucket each."""
    group: list[int] = []
    size = 0
    for bucket in buckets:
        if group and size + rows[bucket] > BATCH_ROWS:
            yield group
            group, size = [], 0
        group.append(bucket)
        size += max(rows[bucket], 0)
    if group:
        yield group


def _add(auditor: Auditor, before: Shard, rows: pa.Table, seen: Rankings) -> Shard:
    if not rows.num_rows:
        return before
    last: datetime = pc.max(rows["time"]).as_py()
    tally = before.tally
    ours = rows.filter(pc.equal(rows["experiment"], auditor.experiment))
    for start in range(0, ours.num_rows, BATCH_ROWS):
        tally += auditor.audit(from_arrow("impression", ours.slice(start, BATCH_ROWS)), seen)
    return Shard(before.rows + rows.num_rows, last.astimezone(UTC) + _TICK, tally)
