"""Inputs against a null of windows with day effects: quiet days are quiet, faults are not, at the same threshold."""

from __future__ import annotations

import numpy as np
import pytest

from incumbent.drift import alarm_items, alarm_numeric, categorical, numeric
from incumbent.drift.detector import Reference
from incumbent.drift.null import judge, leave_one_out, merged
from incumbent.stats.items import Items
from incumbent.stats.items_vocabulary import Vocabulary
from incumbent.stats.numeric import Numeric

ALPHA = 0.05
WINDOWS = 60
ROWS = 1000
WEIGHT = 1 / np.arange(1, 3001)
NAMES = np.array([f"i{k}" for k in range(3000)], dtype=object)


def prices(rng, factor=1.0):
    day = rng.normal(0, 0.03)  # a day of its own, felt by all its rows
    return rng.lognormal(3 + day, 0.6, ROWS) * factor


def ids(rng, new=0.0):
    weight = WEIGHT * np.exp(rng.normal(0, 0.1, 3000))
    rows = NAMES[rng.choice(3000, ROWS, p=weight / weight.sum())]
    return np.where(rng.random(ROWS) < new, "new", rows).tolist()


def numbers(rng):
    zero = Numeric.fit(np.concatenate([prices(rng) for _ in range(10)]))
    return (lambda fault=0.0: zero.update(prices(rng, 1 + fault))), numeric.scores, 0.2


def items(rng):
    fit = [key for _ in range(20) for key in ids(rng)]
    keys, counts = np.unique(fit, return_counts=True)
    v = Vocabulary.fit(dict(zip(keys.tolist(), counts.tolist(), strict=True)), dict.fromkeys(NAMES.tolist()))
    zero = Items.over(v, top=100)
    return (lambda fault=0.0: zero.update(*v.encode(ids(rng, fault)))), categorical.scores, 0.05


@pytest.mark.parametrize("world", [numbers, items])
def test_the_delivered_rate_is_about_the_promised_one_and_faults_are_found(world):
    rng = np.random.default_rng(11)
    window, measure, fault = world(rng)
    baseline = [window() for _ in range(WINDOWS)]
    total = merged(baseline)
    null = leave_one_out(baseline, total, measure)

    def p_value(state):
        return judge(null, measure(state, total), 1 / state.n + 1 / total.n).p_value

    alarms = sum(p_value(window()) <= ALPHA for _ in range(100))
    found = sum(p_value(window(fault)) <= ALPHA for _ in range(20))
    print(world.__name__, alarms, found)
    assert alarms <= 14  # of 100 promised 5; with 60 windows the null itself is uncertain
    assert found >= 19


@pytest.mark.parametrize("kind", ["numeric", "items"])
def test_values_that_are_missing_are_no_drift(kind):
    if kind == "numeric":
        zero, detector = Numeric.fit(np.arange(100.0)), alarm_numeric.numeric()
        window, lost = (lambda n: zero.update(np.arange(200.0) % 100 + n % 3)), [np.nan] * 20
    else:
        vocabulary = Vocabulary.fit({"a": 60, "b": 40})
        detector, zero = alarm_items.items(), Items.over(vocabulary)
        window = lambda n: zero.update(*vocabulary.encode(["a"] * (60 + n % 3) + ["b"] * (40 - n % 3)))  # noqa: E731
        lost = vocabulary.encode([None] * 20)
    reference = detector.calibrate(Reference.of([window(n) for n in range(30)]))
    holes = window(1).merge(zero.update(*lost) if kind == "items" else zero.update(lost))
    said, _ = detector.step(holes, reference, None)
    assert said.status == "ok", said.reason
