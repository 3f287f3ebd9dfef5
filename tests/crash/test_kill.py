"""Producers and a sealer as real processes, killed at every named point: nothing acknowledged is lost or counted twice.

The oracle is plain Python: the producers' synced files of acknowledgements against the rows that deltalake reads.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from deltalake import DeltaTable

from incumbent.testing.campaign import Acks, Campaign
from incumbent.testing.faults import POINTS, resolve
from incumbent.testing.roles import START, UNREADABLE, event_id

PRODUCERS = (0, 1)
OF_PRODUCER = ("incumbent.stores.inbox_file.InboxFile.commit",)


@pytest.fixture
def campaign(tmp_path):
    campaign = Campaign(tmp_path / "data", random.Random(20261121))
    for number in PRODUCERS:
        campaign.add(f"producer-{number}", "incumbent.testing.roles", "producer", str(campaign.directory),
                     "--number", str(number), "--pause", "0.1")
    campaign.add("sealer", "incumbent.testing.roles", "sealer", str(campaign.directory))
    yield campaign
    campaign.close()


def rows_of(campaign, table):
    return DeltaTable(campaign.directory / "lake" / table).to_pyarrow_table().to_pylist()


def judge(campaign, capsys):
    """Everything sealed by a fresh sealer: what was acknowledged is there once, as it was sent, and nothing else is."""
    campaign.kill_now("sealer")
    codes = campaign.finish(["producer-0", "producer-1", "sealer"])
    assert codes == dict.fromkeys(codes, 0), "\n".join(campaign.output(role) for role in codes)
    rows, refused = rows_of(campaign, "feedback"), rows_of(campaign, "quarantine")
    seen = Counter(row["event_id"] for row in rows + refused)
    acked = {number: Acks.read(campaign.directory / f"producer-{number}.acks") for number in PRODUCERS}
    lost = [(p, n) for p, numbers in acked.items() for n in numbers if event_id(p, n) not in seen]
    twice = [name for name, count in seen.items() if count > 1]
    sent = {event_id(p, n): (p, n) for p, numbers in acked.items() for n in range(max(numbers, default=0) + 100)}
    wrong = []
    for row in rows:
        producer, number = sent.get(row["event_id"], (None, None))
        whole = (f"item-{producer}-{number}", f"user-{number % 37}" if number is not None else None, number)
        if (row["item_id"], row["user_id"], row["value_minor"]) != whole or row["time"] < START:
            wrong.append(row)
    readable = {event_id(p, n) for p, numbers in acked.items() for n in numbers if n % UNREADABLE != UNREADABLE - 1}
    misplaced = readable & {row["event_id"] for row in refused}
    with capsys.disabled():
        print(f"\n{campaign.tally()}\n{sum(map(len, acked.values()))} acknowledged, {len(rows)} rows and {len(refused)}"
              f" in quarantine: {len(lost)} lost, {len(twice)} counted twice, {len(wrong) + len(misplaced)} wrong")
    assert not lost and not twice and not wrong and not misplaced
    assert sum(map(len, acked.values())) > 100, "hardly anything was sent"
    assert refused, "nothing unreadable was sent"


def strike(campaign, points, times):
    for point in points:
        role = "producer-0" if point.partition(":")[2] in OF_PRODUCER else "sealer"
        for nth in range(1, times + 1):
            for other in ("producer-0", "producer-1"):
                if other != role and not campaign.running(other):
                    campaign.start(other)
            assert campaign.kill_at(role, point, nth), f"{point} was not passed {nth} times\n{campaign.output(role)}"


def test_every_point_is_a_function():
    for point in POINTS:
        resolve(point.partition(":")[2])


def test_killed_at_the_points_that_matter_most(campaign, capsys):
    strike(campaign, [
        "after:incumbent.stores.inbox_file.InboxFile.commit",  # on disk, not acknowledged
        "after:incumbent.stores.delta.DeltaFolder.write",  # files, no entry
        "after:incumbent.stores.lake.DeltaLake.commit",  # in the lake, still in the inbox
        "before:incumbent.stores.inbox_file.InboxFile.release",
        "after:incumbent.stores.delta.DeltaFolder.commit",  # one table of two
    ], 1)
    campaign.kill_after("sealer", 0.5, 1.5)
    judge(campaign, capsys)


@pytest.mark.slow
def test_killed_at_every_point_three_times_and_at_random(campaign, capsys):
    strike(campaign, POINTS, 3)
    for role in ["sealer", "producer-0", "producer-1"] * 5:
        campaign.kill_after(role, 0.2, 2.0)
    assert sum(campaign.kills.values()) >= 50 and all(campaign.kills[point] >= 3 for point in POINTS)
    judge(campaign, capsys)
