"""Gateway, collector and loop as real processes behind HTTP, killed between any two steps: nothing acknowledged is lost
or counted twice, and what was measured is what plain Python makes of the lake's rows."""

from __future__ import annotations

import random

import pytest
from deltalake import DeltaTable, write_deltalake

from incumbent.loop import keys
from incumbent.stores.control import SqlControl
from incumbent.testing.campaign_points import MOMENTS
from incumbent.testing.campaign_service import BUCKETS, CURRENCY, START, SURFACES, HttpCampaign
from incumbent.testing.campaign_verdict import verdict
from incumbent.testing.faults import Point, resolve


@pytest.fixture
def begin(tmp_path):
    begun = []

    def campaign(**settings):
        begun.append(HttpCampaign(tmp_path / "shop", random.Random(20261122), **settings))
        begun[-1].start()
        return begun[-1]

    yield campaign
    for one in begun:
        one.close()


def judge(campaign, capsys):
    campaign.drain()
    said = verdict(campaign.data, campaign.shoppers, BUCKETS, CURRENCY)
    with capsys.disabled():
        tries = sum(shopper.tally["tries that failed"] for shopper in campaign.shoppers)
        print(f"\n{campaign.table()}\n{said}\n{tries} tries that failed; {campaign.clock.now() - START} of model time")
    assert said.lost == said.twice == 0 and not said.problems, "\n".join(said.problems[:20])
    assert said.impressions > 50 and said.events > 50 and said.states, "hardly anything happened"
    return said


def sees_what_is_wrong(campaign):
    """A judge that overlooked these would prove nothing."""
    def again():
        return verdict(campaign.data, campaign.shoppers, BUCKETS, CURRENCY)

    with campaign.shoppers[0].acks.open("a") as file:
        file.write("e 00000000-0000-7000-8000-000000000000\n")
    assert (again().lost, again().twice) == (1, 0)
    for table, twice in (("outcome", 1), ("impression", 2)):
        lake = DeltaTable(campaign.data / "lake" / table)
        write_deltalake(lake, lake.to_pyarrow_table().slice(0, 1), mode="append")
        assert again().twice == twice
    control = SqlControl.in_directory(campaign.data)
    state = next(row for row in control.range("slots/"))
    control.put(state.day, state.bucket, keys.FAMILY, [])
    control.close()
    assert any(f"state ('{state.key}'" in problem and "missing" in problem for problem in again().problems)
    return True


def test_every_moment_is_at_a_function():
    for moment in MOMENTS:
        point = Point.parse(moment.point)
        for target in (point.target, *point.inside):
            resolve(target)


def moments(*names):
    return [next(moment for moment in MOMENTS if moment.name == name) for name in names]


def test_each_part_killed_where_it_matters_most(begin, capsys):
    campaign = begin(pause_s=0.05)
    campaign.live(25)
    chosen = moments(
        "told, the answer has not left", "told, no 2xx has left", "decide: inside its transaction",
        "seal: entry, not synced", "attribute: after a partition", "rollup: before a shard's states")
    campaign.strike(chosen, SURFACES[0], 1)
    campaign.live(10)
    judge(campaign, capsys)
    assert sees_what_is_wrong(campaign)


@pytest.mark.slow
def test_each_part_killed_at_every_moment_three_times_and_at_random(begin, capsys):
    campaign = begin(patience_s=600.0)
    for surface in SURFACES:
        deciding = [moment for moment in MOMENTS if moment.name.startswith(("decide", "act"))]  # while there is news
        others = [moment for moment in MOMENTS if moment not in deciding]
        campaign.strike(deciding + campaign.rng.sample(others, len(others)), surface)
    campaign.at_random(9, whole=0.3)
    said = judge(campaign, capsys)
    assert all(campaign.parts[moment.part].deaths[moment.point] >= 3 for moment in MOMENTS) and campaign.kills >= 50
    assert said.sealed and said.decisions > 6
