"""The report of a comparison: one file, no network, drawn in a real browser in light and dark and on a phone."""

import html
import io
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

import incumbent
from incumbent.clock import ManualClock
from incumbent.dashboard import charts, progress
from incumbent.dashboard.windows_chart import windows

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def report():
    rng = np.random.default_rng(2)

    def side(start, days, shift):
        item = rng.integers(0, 30, days * 100)
        item = np.where(rng.random(days * 100) < shift, 3, item)
        middles = np.random.default_rng(1).normal(size=(30, 8)) * 5
        return {"at": np.datetime64(start, "us") + np.arange(days * 100) // 100 * np.timedelta64(1, "D"),
                "emb": (middles[item] + 0.3 * rng.normal(size=(days * 100, 8))).astype(np.float32),
                "title": np.array([f"<b>hat</b> {i}" for i in item]), "price": rng.lognormal(size=days * 100)}

    return incumbent.compare(side("2026-01-01", 30, 0), side("2026-02-01", 4, 0.3), time="at", title="title",
                             progress=False)


def test_it_is_one_file_that_asks_nothing_of_the_network(report, tmp_path):
    page = report.to_html(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == page
    assert page.count("<svg") >= 3 and "<script" not in page and "<link" not in page and "@import" not in page
    assert set(re.findall(r"https?://[^\"'\s<]+", page)) <= {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    told = report.stream("emb").why
    assert told and f'<td class="why">{html.escape(told)}</td>' in page
    assert "&lt;b&gt;hat" in page and "<b>hat</b>" not in page, "titles are text"
    assert 'srcdoc="&lt;!doctype html&gt;' in report._repr_html_()


def test_the_threshold_says_how_it_came_by():
    point = {"window": "2026-01-01", "side": "current", "score": 9.0, "off": True, "n": 5, "reason": ""}
    labels = [windows([point], 3.0, how=how)["layer"][-1]["data"]["values"][0]["label"]
              for how in ("", "extrapolated (student)")]
    assert labels == ["threshold of one window: +3.0", "threshold of one window, extrapolated (student): +3.0"]


def test_charts_take_their_colours_from_the_sheet(report):
    page = report.to_html()
    drawn = page[page.index("<svg"):]
    assert 'fill="var(--bad)"' in drawn and charts.LIGHT["bad"] not in drawn


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine (Debian: apt-get install chromium)")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_it_is_drawn_in_a_browser(report, tmp_path, scheme, width):
    from playwright.sync_api import sync_playwright

    report.to_html(tmp_path / "r.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        problems, asked = [], []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "r.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colour = page.evaluate("getComputedStyle(document.querySelector('svg [fill=\"var(--bad)\"]')).fill")
        assert colour == ("rgb(192, 54, 44)" if scheme == "light" else "rgb(255, 141, 131)")
        assert problems == [] and len(asked) == 1
        browser.close()


def test_the_chart_of_windows_says_which_are_off_and_which_have_no_data():
    points = [{"window": f"2026-01-0{i}", "side": "current" if i > 3 else "baseline",
               "score": None if i == 5 else float(i), "off": i == 6, "n": 9, "reason": ""} for i in range(1, 7)]
    spec = windows(points, 4.5)
    kinds = [row["kind"] for row in spec["layer"][1]["data"]["values"]]
    assert kinds == ["baseline"] * 3 + ["ok", "off"] and spec["layer"][2]["data"]["values"][0]["kind"] == "no data"
    assert "threshold of one window: +4.5" in str(spec["layer"][3])
    assert windows([{**points[4]}], 1.0) is None
    assert charts.inline(spec).startswith("<svg")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_appears_after_two_seconds_and_never_in_a_pipe():
    clock, out = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), Terminal()
    with progress.bar(clock, out) as step:
        step("reading", 1, 10)
        assert out.getvalue() == ""
        clock.advance(2.5)
        step("reading", 5, 10)
    assert "reading" in out.getvalue()
    piped = io.StringIO()
    with progress.bar(clock, piped) as step:
        clock.advance(100)
        step("reading", 5, 10)
    assert piped.getvalue() == ""


def test_importing_the_package_loads_nothing():
    code = ("import sys, incumbent; before = 'numpy' in sys.modules; incumbent.compare; "
            "print(before, 'numpy' in sys.modules, 'fastapi' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == [
        "False", "True", "False"]
