"""The page Drift over a real baseline and real findings: in a real browser, light and dark, and on a phone."""

import html
import shutil
import urllib.request
from datetime import timedelta

import pytest

from incumbent.dashboard.drift import drawn
from incumbent.dashboard.drift_view import view
from incumbent.dashboard.evidence_chart import evidence
from incumbent.drift.space_map import MapPoint, SpaceMap
from incumbent.events.ids import EventIds
from incumbent.events.schema import Finding
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.service.desk import Desk
from incumbent.stores import memory
from incumbent.stores.store import Stores
from incumbent.testing.drift_loop import World
from incumbent.testing.event_shop import START

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OFF = {"on": False}
DRIFT = {"least_windows": 12, "false_alarms_per_month": 6, "monitors": {
    "scores": OFF, "calibration": OFF, "missing": OFF, "context": OFF, "embeddings": OFF, "prices": OFF, "ndcg": OFF,
    "items": {"least_rows": 10}, "response": {"least_rows": 10}}}
SPRING = 20


@pytest.fixture(scope="module")
def world():
    """Three weeks of baseline and ten days in which half of the clicks went."""
    made = World(requests=16, vectors=4, drift=DRIFT, faults={"clicks": SPRING + 1})
    made.live(0, SPRING)
    made.attribute()
    made.clock.advance(seconds=8 * 86_400)  # no outcome may still come
    made.build(0, SPRING)
    made.live(SPRING, SPRING + 10)
    made.found = made.look()
    return made


@pytest.fixture(scope="module")
def desk(world):
    stores = memory.open_stores(world.config, world.clock)
    return Desk(world.config, Stores(stores.log, world.lake, world.control), world.clock)


@pytest.fixture(scope="module")
def shown(desk):
    return view(desk)


@pytest.fixture(scope="module")
def port(desk, served):
    with served(desk) as number:
        yield number


def asked(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/drift", timeout=30) as answer:
        return html.unescape(answer.read().decode())


def test_streams_stand_as_the_ledger_says_worst_first(world, shown):
    ledger = drift_ledger.read(world.control)
    assert {one["name"]: one["status"] for one in shown["streams"]} == {
        name: one.status for name, one in ledger.standings.items()}
    assert shown["streams"][0]["status"] == "drift" and shown["streams"][-1]["status"] == "ok"
    clicks = next(one for one in shown["streams"] if one["name"] == "response/home/clicked")
    assert clicks["severity"] == "page"
    assert [point["evidence"] for point in clicks["points"]] == [
        seen.e_value for seen in ledger.standings["response/home/clicked"].recent]
    assert max(point["evidence"] for point in clicks["points"]) >= clicks["threshold"]


def test_promised_stands_beside_delivered(world, shown):
    budget = shown["budget"]
    alarms = [one for one in world.found if one.subject.startswith("stream:") and one.severity in ("ticket", "page")]
    assert (budget["promised"], budget["alarms"]) == (6, len(alarms)) and len(alarms) >= 1
    assert budget["pages"] == sum(one.severity == "page" for one in alarms) == 1
    assert budget["days"] == pytest.approx(10) and budget["allowed"] == pytest.approx(6 * 10 * 24 / 730.5)
    assert budget["monitors"] == len(shown["streams"])


def test_what_is_open_comes_with_its_finding_and_the_baseline_with_what_it_holds(shown):
    told = {one["stream"]: one["finding"]["evidence"] for one in shown["open"]}
    assert "explanation" in told["response/home/clicked"]
    assert shown["baseline"]["in_force"] and {"items/home/popular", "response/home"} <= {
        stream["stream"] for stream in shown["baseline"]["streams"]}
    assert all(finding["check"].startswith("drift:") for finding in shown["findings"])


def test_a_stream_says_when_it_is_judged_next_and_how_fast(world, shown, port):
    streams = {one["name"]: one for one in shown["streams"]}
    assert streams["items/home/popular"]["next"]["at"] == (START + timedelta(days=SPRING + 11)).isoformat()
    assert streams["response/home/converted"]["next"]["start"] == (START + timedelta(days=SPRING + 3)).isoformat()
    page = asked(port)
    assert f"next at {START + timedelta(days=SPRING + 11):%Y-%m-%d %H:%M}" in page
    assert f"told in {streams['response/home/clicked']['soonest']} days" in page and "told in 1 day;" in page


def test_before_the_first_judgement_the_page_says_when_it_will_be(world, served):
    stores = memory.open_stores(world.config, world.clock)
    fresh = World(lake=world.lake, control=stores.control, drift=DRIFT)
    fresh.begin(world.control, SPRING)
    with served(Desk(world.config, Stores(stores.log, world.lake, stores.control), fresh.clock)) as number:
        page = asked(number)
    at = START + timedelta(days=SPRING + 1)
    assert f"not judged yet: next at {at:%Y-%m-%d %H:%M} UTC" in page and f"next at {at:%Y-%m-%d %H:%M}" in page


def test_before_a_baseline_stands_the_page_says_how_to_make_one(world):
    told = view(Desk(world.config, memory.open_stores(world.config, world.clock), world.clock))
    assert told["baseline"] is None and told["streams"] == [] and told["budget"]["alarms"] == 0


def test_an_explained_embedding_has_its_picture_and_a_finding_without_one_its_words(shown):
    picture = SpaceMap((MapPoint(0, 0.1, 0.2, 0.3, 0.1, 1.0, "hat"),), 0.4, 0.2).to_dict()
    told = [drawn({**shown, "open": [{"stream": "s", "finding": {"evidence": given}}]})["open"][0]["told"]
            for given in ({"explanation": {"picture": picture, "text": "x"}}, {})]
    assert told[0]["space"]["layer"] and told[0]["clusters"] is None
    assert told[1]["space"] is None and told[1]["text"] is None


def test_evidence_is_drawn_with_its_threshold():
    points = [{"window": f"2026-03-0{i}", "evidence": value, "n": 5, "status": "ok", "statistic": ""}
              for i, value in enumerate([1.5, None, 1e300, 20.0, 0.0], 1)]
    spec = evidence(points, 20.0)
    rows = spec["layer"][1]["data"]["values"]
    assert [row["kind"] for row in rows] == ["quiet", "alarm", "alarm", "quiet"]
    assert all(0 < row["evidence"] <= 1e12 for row in rows), "a logarithmic axis has neither 0 nor infinity"
    assert [row["kind"] for row in spec["layer"][2]["data"]["values"]] == ["no data"]
    assert spec["layer"][-1]["data"]["values"] == [{"at": 20.0}]
    assert evidence([points[1]], 20.0) is None


def test_no_data_and_its_reason_are_among_the_findings(world):
    stores = memory.open_stores(world.config, world.clock)
    stores.control.set_cursor(*drift_ledger.written(drift_ledger.read(world.control)))
    found = Finding(event_id=EventIds(world.clock).new(), time=world.clock.now(), subject="stream:items/home/popular",
                    check="drift:items", status="no_data", severity="info", reason="no rows in the window", evidence={})
    stores.control.conclude(found)
    told = view(Desk(world.config, stores, world.clock))["findings"]
    assert [(one["status"], one["reason"]) for one in told] == [("no_data", "no rows in the window")]


RATE = {"reference_rate": 0.25, "current_rate": 0.125}
MIX = {"js": 0.1234, "part": 0.8, "reason": None}
SPLIT = {"js": 0.2, "mix": 0.03, "within": 0.17, "noise": 0.001}


@pytest.mark.parametrize(("told", "wanted", "unwanted"), [
    ({"segments": [{"segment": "phone", "n": 1200, **RATE}, {"segment": "", "n": 7, **RATE, "reference_rate": None}],
      "mix": 0.01, "within": -0.1},
     ["<th scope=\"row\">phone</th>", "25.00", "12.50", "1,200", "(none)", "+1.00 points by the mix", "-10.00 within"],
     ["nats"]),
    ({"segments": [{"segment": "phone", "n": 300, **RATE, **MIX},
                   {"segment": "desktop", "n": 40, "js": None, "part": None, "reason": "only 40 values now"}],
      "mix": 1.5, "within": 12.0, "as": "figure", "split": SPLIT},
     ["0.1234 nats, 80 %", "only 40 values now", "+1.5 by the mix", "+12 within", "0.2000 nats", "+0.1700 within",
      "0.25<"],
     ["25.00", "points"]),
    ({"segments": [{"segment": "phone", "n": 300, **MIX}], "split": SPLIT},
     ["phone", "0.1234 nats", "+0.0300 by the mix"], ["25.00"]),
    ({"segments": [], "text": "moved\nno segments: the lake holds no requests of the matched windows"},
     ["no segments: the lake holds no requests"], ["change of its mix"])])
def test_segments_that_feel_a_drift_are_shown(world, served, told, wanted, unwanted):
    class Felt(Desk):
        def drift_findings(self, monitor=None, limit=100):
            found = super().drift_findings(monitor, limit)
            return [{**one, "evidence": {**one["evidence"], "explanation": {"text": "moved", **told}}}
                    if "explanation" in one["evidence"] else one for one in found]

    stores = memory.open_stores(world.config, world.clock)
    with served(Felt(world.config, Stores(stores.log, world.lake, world.control), world.clock)) as number:
        page = asked(number)
    assert [one for one in wanted if one not in page] == [] == [one for one in unwanted if one in page]


def test_ten_examples_are_shown_and_the_items_that_a_new_version_moved(world, served):
    titles = [f"lamp {n}." for n in range(12)]
    cluster = {"cluster": 3, "words": ["lamp"], "reference": 0.1, "current": 0.3, "part": 0.9, "before": titles[:10],
               "after": titles[2:]}
    moved = {"event_id": "v", "time": world.clock.now(), "subject": "stream:embeddings/titles/item/v2",
             "check": "drift:version", "status": "drift", "severity": "ticket", "reason": "items_moved: 90 %",
             "evidence": {"explanation": {"text": "moved furthest: hat 7; mug 1"}}}

    class Explained(Desk):
        def drift_findings(self, monitor=None, limit=100):
            return [moved, *({**one, "evidence": {**one["evidence"], "explanation": {
                "text": "moved", "clusters": [cluster], "examples": {"before": ["winter"], "after": []}}}}
                if "explanation" in one["evidence"] else one for one in super().drift_findings(monitor, limit))]

    stores = memory.open_stores(world.config, world.clock)
    with served(Explained(world.config, Stores(stores.log, world.lake, world.control), world.clock)) as number:
        page = asked(number)
    assert all(one in page for one in titles) and "items_moved: 90 %; moved furthest: hat 7; mug 1" in page
    assert "most frequent before" in page and "most recommended" not in page, "of responses nothing is recommended"


def test_what_is_still_to_come_is_said_to_be_an_estimate(world, served):
    estimate = {"value": 0.1, "low": 0.08, "high": 0.12, "n": 1234, "reason": None}
    none = {"value": None, "low": None, "high": None, "n": 0, "reason": "the reference has no labels"}
    start = START.isoformat()

    class Waiting(Desk):
        def drift(self):
            return {**super().drift(), "before_labels": [
                {"stream": "calibration/home/popular/1", "start": start, "rate": estimate, "brier": estimate,
                 "auc": none},
                {"stream": "calibration/home/popular/2", "start": start, "rate": none, "brier": none, "auc": none}],
                "cohorts": [{"stream": "delay/home", "start": start, "so_far": estimate, "final": none}]}

    stores = memory.open_stores(world.config, world.clock)
    with served(Waiting(world.config, Stores(stores.log, world.lake, world.control), world.clock)) as number:
        page = asked(number)
    assert "quality before labels, estimated from calibrated scores" in page and "cannot see concept drift" in page
    assert "estimates, not measured" in page and "8.00 % to 12.00 %" in page.replace("\u202f", " ").replace("\xa0", " ")
    assert page.count("the reference has no labels") == 2 and "1,234" in page and "bought so far" in page


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine (Debian: apt-get install chromium)")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_it_is_drawn_in_a_browser(port, shown, scheme, width):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(f"http://127.0.0.1:{port}/drift")
        charts = sum(one["chart"] is not None for one in drawn(shown)["streams"])
        page.wait_for_function(f"document.querySelectorAll('[data-drawn] svg').length >= {charts}", timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.get_by_text("false alarms a month promised").count() == 1
        assert page.get_by_role("heading", name="response/home/clicked page").count() == 1
        assert page.locator("nav a", has_text="drift").count() == 1 and problems == []
        browser.close()
