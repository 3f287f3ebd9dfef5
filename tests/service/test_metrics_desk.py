"""The tree through the desk and on the command line: of nothing, of a measured shop, and of a surface that is none."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from incumbent import config as configs
from incumbent.clock import ManualClock
from incumbent.commands import report
from incumbent.commands.metrics import show
from incumbent.errors import NotFoundError
from incumbent.loop import attribute
from incumbent.loop.metrics.keys import DAY_FAMILY, Cell, packed
from incumbent.loop.metrics.set import measured
from incumbent.service.desk import Desk
from incumbent.stores import memory

NOW = datetime(2026, 6, 30, 8, tzinfo=UTC)


@pytest.fixture
def desk():
    config = configs.parse({"models": {"popular": {"target": "m:f"}}, "surfaces": {"home": {"champion": "popular"}},
                            "metrics": {"least_rows": 5}})
    clock = ManualClock(NOW)
    return Desk(config, memory.open_stores(config, clock), clock)


def put(desk, days, rate=0.1):
    rng, metric = np.random.default_rng(1), measured(desk.config.metrics).all()["click_through"]
    for at in range(1, days + 1):
        day = (NOW - timedelta(days=at)).date()
        rows = np.stack([rng.binomial(20, rate, 50), np.full(50, 20)], axis=1)
        state = metric.state().update(rng.integers(0, 128, 50), rows)
        desk.stores.control.put(day, 0, DAY_FAMILY, [packed(Cell("home").day_key, day, 0, {"click_through": state})])
    desk.stores.control.set_cursor("metric_states", "{}")


def test_nothing_measured_is_said_and_a_surface_that_is_none_is_refused(desk, capsys):
    [note] = desk.metrics()[0]["notes"]
    assert note.startswith("nothing was measured yet") and note.endswith("00:00 UTC")
    show(desk.metrics())
    assert "nothing was measured yet" in capsys.readouterr().out
    with pytest.raises(NotFoundError, match="no such surface"):
        desk.metrics("hone")


def test_a_measured_shop_is_told_as_plain_json_and_as_text(desk, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    put(desk, 20)
    made = desk.metrics("home", 7)
    node = next(one for one in json.loads(json.dumps(made))[0]["nodes"] if one["name"] == "click_through")
    assert node["value"]["n"] == 350 and node["value"]["low"] < 0.1 < node["value"]["high"]
    assert node["band"]["days"] == 19 and node["parent"] == "conversion"
    assert desk.metrics("home", 7) == made
    show(made)
    told = capsys.readouterr().out
    assert "click_through" in told and "350" in told
    assert "over experiments: no number for" in told and "(0 points, fewer than 8)" in told
    assert "no loss is a discovery at 5 % among all cells and metrics" in told


def test_what_predicts_what_names_the_attribute_and_counts_what_cannot_be_said(desk, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    put(desk, 20)
    made = desk.metrics("home", 7)
    node = next(one for one in made[0]["nodes"] if one["name"] == "click_through")
    some = {"value": 0.61, "low": 0.2, "high": 0.85, "reason": None}
    none = {"value": None, "low": None, "high": None, "reason": "2 points, fewer than 8"}
    node["predicts"] = [{"over": "cells", "by": "country", "points": 11, "correlation": some, "noise": 0.1},
                        {"over": "experiments", "by": None, "points": 2, "correlation": none, "noise": None}]
    for other in made[0]["nodes"]:
        other["predicts"] = other["predicts"] if other is node else []
    show(made)
    told = capsys.readouterr().out
    assert "click_through -> conversion" in told and "cells of country" in told and "+0.61" in told
    assert "over experiments: no number for 1 of 1 (2 points, fewer than 8)" in told


def test_brackets_in_names_and_in_what_shoppers_send_are_letters(desk, capsys):
    put(desk, 20)
    made = desk.metrics("home", 7)
    made[0]["slices"] = [{"by": "country", "value": "[/red]", "metric": "click_through", "now": 0.1, "before": 0.2,
                          "low": -0.2, "high": -0.1, "share": 0.5, "worst": 0.1}]
    show(made)
    assert "country = [/red]" in capsys.readouterr().out
    line = {"name": "null[session_id]", "value": 0.5, "low": 0.4, "high": 0.6, "n": 9, "unit": "of events"}
    report.show({"since": "a", "until": "b", "sections": [{"title": "[/b] came in", "notes": [], "lines": [
        line, {**line, "name": "volume[click]", "value": None, "reason": "no [rows]"}]}]}, False)
    told = capsys.readouterr().out
    assert all(text in told for text in ("[/b] came in", "null[session_id]", "volume[click]", "no [rows]"))


def test_a_day_that_has_just_ended_is_told_once_it_was_measured(desk):
    def measured_at(moment):
        desk.stores.control.set_cursor(attribute.CURSOR, msgspec.json.encode(
            attribute.AttributeCursor(at=moment)).decode())
        return desk.metrics("home")[0]["until"]

    put(desk, 20)
    yesterday = str((NOW - timedelta(days=1)).date())
    assert measured_at(NOW) == yesterday
    desk.clock.set(datetime(2026, 7, 1, 0, 5, tzinfo=UTC))  # the day is over, and nobody has measured since
    assert measured_at(NOW) == yesterday
    assert measured_at(desk.clock.now()) == str(NOW.date())


def test_a_surface_that_fell_silent_shows_its_last_days_and_says_so(desk, capsys):
    put(desk, 20)
    last = str((NOW - timedelta(days=1)).date())
    made = desk.metrics("home")[0]
    assert made["quiet_since"] is None and made["until"] == last
    desk.clock.set(NOW + timedelta(days=3))  # within the period: the days stay the last whole ones
    desk.stores.control.set_cursor(attribute.CURSOR, msgspec.json.encode(
        attribute.AttributeCursor(at=desk.clock.now())).decode())
    made = desk.metrics("home")[0]
    assert made["quiet_since"] == last and made["until"] > last
    desk.clock.set(NOW + timedelta(days=20))
    desk.stores.control.set_cursor(attribute.CURSOR, msgspec.json.encode(
        attribute.AttributeCursor(at=desk.clock.now())).decode())
    made = desk.metrics("home")[0]
    assert made["quiet_since"] == made["until"] == last
    assert next(node for node in made["nodes"] if node["name"] == "click_through")["value"]["n"] > 0
    show([made])
    assert f"nothing has come in since {last}" in capsys.readouterr().out
