"""A guardrail at the very edge of its margin, looked at daily, with shoppers who come back and differ.

The whole lane loses 5 % at a share of one half, the margin is 10 %: calling that harm is wrong, and so is calling it
safe. Thresholds were committed before these seeds, which stand in no other file.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from incumbent.config import GuardrailConfig
from incumbent.experiments.guardrails import read
from incumbent.testing.world import Shop, World

SEED = 831_750_264
ALPHA, SHARE, LOSS = 0.05, 0.5, 0.05
CONFIG = GuardrailConfig(metric="revenue_per_user_day", margin=LOSS / SHARE)


def ever(worlds: int, part: int, **shop) -> tuple[int, int, int]:
    """Worlds in which the guardrail was ever called harm, ever called ok, and ever looked at."""
    harm = safe = looked = 0
    for i in range(worlds):
        world = World(Shop(lane_loss=LOSS, arrival_days=20, **shop), np.random.default_rng([SEED, part, i]))
        said = set()
        for _ in range(45):
            world.live_day("ramp_50", SHARE)
            said.add(read(CONFIG, world.lane_states("ramp_50"), stage="ramp_50", share=SHARE, alpha=ALPHA).status)
        harm, safe, looked = harm + ("harm" in said), safe + ("ok" in said), looked + (said != {"missing"})
    print(f"{shop}: harm {harm}, safe {safe}, looked at {looked} of {worlds} worlds")
    return harm, safe, looked


@pytest.mark.parametrize(("part", "s", "holdout"), [(1, 0.0, 0.1), (2, 1.0, 0.3)])
def test_the_edge_is_neither_harm_nor_safe(part, s, holdout):
    worlds = 30
    harm, safe, looked = ever(worlds, part, users=5_000, heterogeneity=s, holdout=holdout)
    bound = stats.binom.ppf(0.999, worlds, ALPHA)
    assert harm <= bound and safe <= bound
    assert looked >= worlds * 0.8  # or nothing was tested


@pytest.mark.slow
@pytest.mark.parametrize(("part", "s", "holdout", "users"), [
    (11, 0.0, 0.1, 5_000), (12, 1.0, 0.3, 5_000), (13, 1.0, 0.1, 20_000), (14, 1.5, 0.3, 20_000)])
def test_the_edge_in_400_worlds(part, s, holdout, users):
    worlds = 400
    harm, safe, _ = ever(worlds, part, users=users, heterogeneity=s, holdout=holdout)
    bound = stats.binom.ppf(0.99, worlds, ALPHA)
    assert harm <= bound and safe <= bound
