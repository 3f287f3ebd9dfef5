"""The configuration of a simulated system: short periods and small gates, so that two weeks see a whole experiment."""

from __future__ import annotations

from random import Random
from typing import Any

from incumbent.testing.simulated_shoppers import CATALOGUE, LIST, K

EXPERIMENT = "e1"
DAY_S = 86_400.0

#: how champion and candidate see what shoppers like: slope and noise; twins, a better and a worse candidate
STORIES = (((1.0, 0.8), (1.0, 0.8)), ((-0.5, 1.0), (1.0, 0.1)), ((1.0, 0.1), (-0.5, 1.0)))


def config_tree(rng: Random, buckets: int) -> dict[str, Any]:
    """One surface with an experiment, one without, and a ramp that is climbed in a week; terms are drawn from `rng`.

    Half of the ramps widen the interleave lane from rung to rung, the others have everybody in it from the start.

    An outcome looks back 18 hours and a unit matures in a day, so that those who came at one stage are sealed soon; two
    loops take turns at measuring, each every 36 hours.
    """
    ramp = (("canary", 0.1, 0.4), ("ramp_25", 0.25, 0.7), ("ramp_50", 0.5, 1.0)) if rng.random() < 0.5 else (
        ("canary", 0.1, None), ("ramp_50", 0.5, None))
    stages = [{"stage": "shadow", "share": 0.0, "lane_share": ramp[0][2], "min_units": 0, "min_days": 0.5}] + [
        {"stage": stage, "share": share, "lane_share": lane, "min_units": 4, "min_days": 0.5}
        for stage, share, lane in ramp]
    model = {"deadline_ms": 100, "breaker_cool_down_s": 30.0}
    surface = {"champion": "old", "k_max": 3 * K, "depth": LIST, "deadline_ms": 150, "fallback": CATALOGUE[:6]}
    return {
        "stores": {"kind": "memory", "buckets": buckets},
        "loop": {"seal_s": 21_600.0, "attribute_s": 1.5 * DAY_S, "decide_s": 1.5 * DAY_S, "act_s": 1_800.0,
                 "compact_s": DAY_S, "lease_s": 900.0},
        "models": {"old": {"target": "simulation:old", "local": rng.random() < 0.5, **model},
                   "new": {"target": "simulation:new", "local": rng.random() < 0.5, **model}},
        "surfaces": {"home": {**surface, "filler": rng.random() < 0.5}, "cart": surface},
        "experiments": {EXPERIMENT: {
            "surface": "home", "candidate": "new", "holdout": 0.15, "stages": stages,
            "attribution": rng.choice(["last_touch", "first_touch", "all_touch", "share", "impression"]),
            "skip_neutral": rng.random() < 0.3, "outcome": rng.choice(["count", "count", "value"]), "currency": "EUR",
            "actions": {"purchase": 1.0, "click": 0.5},
            "attribution_window_days": 0.75, "maturity_window_days": 1.0,
            "min_units": 24, "min_look_units": 12, "tuning_units": 40, "min_days": 3.0,
            "coin": rng.choice(["round", "round", "list"]),
            "segment": {"device": ["app"]} if rng.random() < 0.2 else {},
            "guardrails": [{"metric": "revenue_per_user_day", "margin": 0.3, "required": False},
                           {"metric": "error_rate", "margin": 0.1, "hard_limit": 0.9},
                           {"metric": "latency_ms", "margin": 50.0, "hard_limit": 1000.0}],
        }},
    }
