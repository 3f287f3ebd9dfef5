"""Off-policy evaluation on frames: bad input, frames of all kinds, and the Open Bandit Dataset."""

from __future__ import annotations

import csv
import gzip
from functools import cache
from pathlib import Path
from statistics import fmean

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from incumbent.errors import DataError
from incumbent.metrics.offline import off_policy

OBD = Path(__file__).resolve().parents[3] / "shared" / "data" / "obd"
needs_obd = pytest.mark.skipif(not OBD.exists(), reason="the Open Bandit Dataset sample is not there")
LOG = {"user_id": [f"u{n % 75}" for n in range(400)], "reward": [0, 0, 0, 1] * 100,
       "propensity": [0.75, 0.75, 0.75, 0.25] * 100, "target": [0.5] * 400}


@cache
def rows_of(policy, campaign):
    with gzip.open(OBD / policy / campaign / f"{campaign}.csv.gz", "rt") as file:
        return [{"user": "/".join(row[f"user_feature_{n}"] for n in range(4)), "item": row["item_id"],
                 "click": int(row["click"]), "propensity": float(row["propensity_score"])}
                for row in csv.DictReader(file)]


def to_random(campaign):
    """The uniform policy from the log of Thompson sampling; the uniform policy's own mean click rate."""
    logged, uniform = rows_of("bts", campaign), rows_of("random", campaign)
    items = len({row["item"] for row in uniform})
    frame = {"user_id": [row["user"] for row in logged], "reward": [row["click"] for row in logged],
             "propensity": [row["propensity"] for row in logged], "target": [1 / items] * len(logged)}
    return off_policy(frame), fmean(row["click"] for row in uniform)


@needs_obd
class TestOpenBandit:
    def test_women_is_refused(self):
        """One weight is 21,739 and the effective sample size is 2."""
        done, _ = to_random("women")
        assert done.state.effective_rows == pytest.approx(2.08, abs=0.01)
        assert done.largest_share > 0.6
        made = done.estimates()
        for name in ("ips", "snips", "gain"):
            assert made[name].value is None and "the effective sample is too small: 2.1 of 10000" in made[name].reason
        assert made["on_policy"].value == pytest.approx(0.0046)

    @pytest.mark.parametrize(("campaign", "effective", "ips", "truth"), [
        ("all", 340.38, 0.0023596, 0.0038), ("men", 655.71, 0.0030086, 0.0046)])
    def test_others_hold_the_known_value(self, campaign, effective, ips, truth):
        """The interval holds the click rate that the uniform policy had when it was followed."""
        done, known = to_random(campaign)
        made = done.estimates()
        assert known == pytest.approx(truth) and done.state.effective_rows == pytest.approx(effective, abs=0.01)
        assert made["ips"].value == pytest.approx(ips, abs=1e-7)
        for name in ("ips", "snips"):
            assert made[name].low <= known <= made[name].high, made[name]
            assert made[name].low > -0.005 and made[name].high < 0.012  # it says something
        assert made["mean_weight"].low <= 1 <= made["mean_weight"].high

    @pytest.mark.parametrize("campaign", ["all", "men", "women"])
    def test_back_from_the_uniform_log(self, campaign):
        """Thompson sampling, by the frequencies of its items, from the uniform log; its own click rate is inside."""
        target, uniform = rows_of("bts", campaign), rows_of("random", campaign)
        shares = {item: sum(row["item"] == item for row in target) / len(target)
                  for item in {row["item"] for row in uniform}}
        done = off_policy({"user_id": [row["user"] for row in uniform], "reward": [row["click"] for row in uniform],
                           "propensity": [row["propensity"] for row in uniform],
                           "target": [shares[row["item"]] for row in uniform]})
        known, made = fmean(row["click"] for row in target), done.estimates()["snips"]
        assert made.low <= known <= made.high


class TestFrames:
    @pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame, pa.table])
    def test_every_kind(self, make):
        made = off_policy(make(LOG)).estimates()["ips"]
        assert made.value == pytest.approx(0.5) and made.n == 400

    def test_order_of_rows_is_nothing(self):
        back = {name: values[::-1] for name, values in LOG.items()}
        one, two = off_policy(LOG).estimates()["ips"], off_policy(back).estimates()["ips"]
        assert one.value == pytest.approx(two.value, rel=1e-12) and one.se == pytest.approx(two.se, rel=1e-9)

    def test_rows_left_out_are_counted(self):
        log = {**LOG, "user_id": [None, *LOG["user_id"][1:]], "reward": [0, None, *LOG["reward"][2:]]}
        counts = off_policy(log).counts
        assert counts == {"rows": 398, "users": 75, "rows_without_user": 1, "rows_with_missing_number": 1}

    def test_doubly_robust_needs_a_model(self):
        assert off_policy(LOG).estimates()["doubly_robust"].reason == "no reward model was given"
        made = off_policy({**LOG, "predicted": [0.5] * 400, "expected": [0.5] * 400}).estimates()["doubly_robust"]
        assert made.value == pytest.approx(0.5)

    def test_nothing_is_missing_not_zero(self):
        made = off_policy({name: [] for name in LOG}).estimates()
        assert all(one.value is None and one.reason for one in made.values())

    @pytest.mark.parametrize(("change", "names"), [
        ({"propensity": [0.0] * 400}, "propensity"), ({"target": [1.2] * 400}, "target"),
        ({"predicted": [0.1] * 400}, "predicted"), ({"reward": ["yes"] * 400}, "reward"),
        ({"user_id": [1.5] * 400}, "user_id")])
    def test_bad_values(self, change, names):
        with pytest.raises(DataError, match=names):
            try:
                off_policy({**LOG, **change})
            except DataError as error:
                raise DataError(f"{error} {error.field}") from None

    def test_absent_columns_are_all_named(self):
        with pytest.raises(DataError, match="logged lack columns propensity, target"):
            off_policy({"user_id": [], "reward": []})


def test_no_click_on_what_another_policy_would_show_is_not_never():
    """Of 0 clicks in 40 users each of whom the target policy would have shown half of: SNIPS is 0 and up to 9 %."""
    log = {"user_id": [f"u{n % 40}" for n in range(400)], "reward": [0.0] * 400, "propensity": [0.5] * 400,
           "target": [float(n // 40 % 2) for n in range(400)]}
    made = off_policy(log).estimates()["snips"]
    assert (made.value, made.low) == (0.0, 0.0) and made.high == pytest.approx(1 - 0.025 ** (1 / 40))
    money = off_policy({**log, "reward": [3.0] * 400})
    assert not money.bounded and money.estimates()["snips"].value == 3.0
