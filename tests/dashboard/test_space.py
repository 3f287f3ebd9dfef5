import gzip
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incumbent.dashboard import charts
from incumbent.dashboard.pages import _bundle
from incumbent.dashboard.space import placed, space
from incumbent.drift.space_map import space_map
from incumbent.stats.vectors import Vectors

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
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


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.text("ab, ", max_size=30)), min_size=1,
                max_size=8))
def test_names_that_are_shown_meet_in_a_picture_of_no_width(clusters):
    rows = [{"x": float(x), "y": float(y), "words": words} for x, y, words in clusters]
    told = placed(rows, [-1.0, 13.0], [-1.0, 13.0])
    assert not rows[0]["words"] or told[0]["room"] == 0.0, "the first always has its name"
    for width in (300, 620, 900, 1400):
        boxes = []
        for one in told:
            if one["room"] <= width:
                long, at = 6.0 * len(one["words"]), (one["x"] + 1) / 14 * width
                left = {"left": at, "center": at - long / 2, "right": at - long}[one["align"]]
                boxes.append((left, left + long, (13 - one["y"]) / 14 * 420 + one["dy"]))
        for i, (left, right, down) in enumerate(boxes):
            assert not [1 for a, b, other in boxes[:i] if abs(other - down) < 12 and left < b and a < right]


def test_a_crowd_keeps_the_name_of_the_cluster_that_explains_most():
    points = [{"cluster": i, "x": 0.001 * i, "y": 0.0, "reference": 0.1, "current": 0.2, "part": 0.3 - 0.01 * i,
               "words": f"garden, chair, {i}"} for i in range(8)]
    spec = space({"points": points, "x_variance": 0.2, "y_variance": 0.1})
    assert [row["words"][-1] for row in spec["layer"][2]["data"]["values"] if row["room"] <= 900][:2] == ["0", "1"]
    assert len(spec["data"]["values"]) == 8, "all are drawn, with their words on hover"


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine (Debian: apt-get install chromium)")
@pytest.mark.parametrize(("width", "least"), [(1100, 5), (340, 2)])
def test_no_two_names_overlap_in_a_browser(width, least):
    from playwright.sync_api import sync_playwright

    rng = np.random.default_rng(8)
    points = [{"cluster": i, "x": float(x), "y": float(y), "reference": 0.03, "current": 0.04, "part": 0.1,
               "words": "garden, chair, metal"} for i, (x, y) in enumerate(rng.normal(size=(8, 2)) * 0.3)]
    spec = json.dumps(space({"points": points, "x_variance": 0.2, "y_variance": 0.1}))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": 600})
        page.set_content("<div id=at style='width:100%'></div>")
        page.add_script_tag(content=gzip.decompress(_bundle()).decode())
        page.evaluate(f"vegaEmbed('#at', {spec}, {{actions: false, ast: true, renderer: 'svg'}}).then(() => null)")
        boxes = page.evaluate("[...document.querySelectorAll('svg text')].filter(t => t.textContent.includes('chair'))"
                              ".map(t => t.getBoundingClientRect()).map(b => [b.left, b.right, b.top, b.bottom])")
        browser.close()
    assert len(boxes) >= least
    for i, (left, right, top, bottom) in enumerate(boxes):
        assert left >= 0 and right <= width
        assert not [1 for a, b, c, d in boxes[:i] if left < b and a < right and top < d and c < bottom]
