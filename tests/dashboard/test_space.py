import json

import numpy as np
import pytest

from incumbent.dashboard import charts
from incumbent.dashboard.space import space
from incumbent.drift.space_map import space_map
from incumbent.stats.vectors import Vectors

RNG = np.random.default_rng(3)
ROWS = RNG.normal(size=(600, 5)) * [5, 3, 1, 1, 1]
ZERO = Vectors.fit(ROWS, seed=1, centroids=12)
WORDS = {k: [f"word{k}"] for k in range(12)}
MADE = space_map(ZERO.update(ROWS[ROWS[:, 0] > -2]), ZERO.update(ROWS), WORDS).to_dict()


def test_every_cluster_is_there_with_both_masses():
    spec = space(json.loads(json.dumps(MADE)))
    rows = spec["data"]["values"]
    assert len(rows) == 12 and sum(row["reference"] for row in rows) == pytest.approx(1)
    assert all((row["change"] == "grew") == (row["current"] > row["reference"]) for row in rows)
    disc, ring, text = spec["layer"]
    assert (disc["encoding"]["size"]["field"], ring["encoding"]["size"]["field"]) == ("current", "reference")
    assert disc["encoding"]["size"]["scale"] == ring["encoding"]["size"]["scale"], "areas are on one scale"
    named = text["data"]["values"]
    assert len(named) == 8 and named[0]["part"] == max(row["part"] for row in rows)
    assert f"{MADE['x_variance']:.0%}" in disc["encoding"]["x"]["title"]


def test_nothing_is_no_picture():
    assert space(None) is None and space({"points": [], "x_variance": 0.0, "y_variance": 0.0}) is None


def test_svg_is_drawn_without_a_browser():
    drawn = charts.svg(space(MADE))
    assert drawn.startswith("<svg") and charts.LIGHT["candidate"] in drawn and "word" in drawn
