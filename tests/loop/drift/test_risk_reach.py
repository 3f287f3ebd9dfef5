"""A share that is worse when lower is judged on the scale of its baseline."""

from __future__ import annotations

import pytest

from incumbent.config.sections import DriftConfig
from incumbent.drift.budget import soonest_harm
from incumbent.drift.detector import Reference
from incumbent.loop.drift.judges import detector, judges, share


@pytest.mark.parametrize("rate", [3, 20, 50])
def test_a_dead_share_is_told_in_two_weeks_at_the_default_budget(rate):
    clicked = next(one for one in judges("response/home") if one.name.endswith("clicked"))
    windows = Reference.of([share(rate + (i % 3 - 1) * rate // 10, 1000) for i in range(60)])
    alpha = 1 / 12 * 24 / 730.5
    risk = detector(clicked, "risk", DriftConfig(), "e_detector", alpha, rate / 1000)
    memory, days, status = None, 0, "ok"
    while status != "drift":
        result, memory = risk.step(share(0, 1000), windows, memory)
        days, status = days + 1, result.status
    assert days <= 14 and days == soonest_harm(risk.worst(windows), alpha)
