"""The section [drift]: what is refused, all at once, and what stands where nothing is said."""

import pytest

from incumbent import config
from incumbent.errors import ConfigError

BASE = {"models": {"popular": {"target": "shop:popular"}}, "surfaces": {"home": {"champion": "popular"}}}


def problems(drift):
    with pytest.raises(ConfigError) as caught:
        config.parse({**BASE, "drift": drift})
    return list(caught.value.problems)


def test_the_defaults_watch_everything_by_the_day():
    drift = config.parse(BASE).drift
    assert (drift.window, drift.season, drift.false_alarms_per_month) == ("day", "auto", 1.0)
    assert drift.monitor("embeddings").on and drift.monitor("response").least_rows == 30


def test_every_mistake_is_told_at_once():
    event = {"name": "sale", "start": "2026-11-27T00:00:00Z", "end": "2026-11-27T00:00:00Z"}
    found = problems({
        "time_zone": "Mars/Olympus", "season": "hour_of_week", "false_alarms_per_month": 0, "windw": "day",
        "events": [event, {**event, "action": "forget"}, {"name": "x", "start": "2026-11-27T00:00:00"}],
        "monitors": {"embedings": {}, "items": {"weight": 0}}, "keep_days": 7})
    told = {line.partition(":")[0] for line in found}
    assert told == {
        "drift.time_zone", "drift.season", "drift.false_alarms_per_month", "drift.windw", "drift.events.0.end",
        "drift.events.1.action", "drift.events.1.end", "drift.events.2.start", "drift.events.2.end", "drift.keep_days",
        "drift.monitors.items.weight", "drift.monitors.embedings"}
    assert any("did you mean 'window'" in line for line in found)


@pytest.mark.parametrize(("window", "season", "sound"), [
    ("day", "day_of_week", True), ("day", "hour_of_day", False), ("hour", "day_of_week", False),
    ("hour", "hour_of_week", True), ("hour", "none", True)])
def test_a_season_suits_its_windows(window, season, sound):
    if sound:
        assert config.parse({**BASE, "drift": {"window": window, "season": season}}).drift.season == season
    else:
        assert [line.partition(":")[0] for line in problems({"window": window, "season": season})] == ["drift.season"]


def test_something_must_be_watched():
    names = ("embeddings", "skew", "vector_age", "items", "prices", "scores", "context", "calibration", "missing",
             "response", "ndcg")
    off = {"monitors": {name: {"on": False} for name in names}}
    assert problems(off) == ["drift.monitors: every monitor is off. Hint: drift.enabled = false turns drift off."]
    assert not config.parse({**BASE, "drift": {**off, "enabled": False}}).drift.enabled
