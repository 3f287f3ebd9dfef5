"""The pages as HTML, over a small shop that really ran (see conftest)."""

import http.client
import json
import re

import pytest

from incumbent.dashboard.pages import CONTENT_POLICY


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def text(port, path, status=200):
    found, headers, body = get(port, path)
    assert found == status, body[:400]
    assert headers["content-security-policy"] == CONTENT_POLICY
    return body.decode()


def test_overview_shows_stage_decisions_and_health(port):
    page = text(port, "/")
    assert 'aria-current="step">5 %' in page
    assert "ADVANCE" in page and "the gate of canary is met" in page
    assert "Decisions" in page and "Findings" in page


def test_experiment_shows_verdict_chart_checks_and_who_did_what(port):
    page = text(port, "/experiments/ranker")
    assert re.search(r"600 matured", page)
    for check in ("coin_audit", "sample_ratio", "parity", "overlap"):
        assert check in page
    specs = [json.loads(one) for one in re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)]
    assert len(specs[0]["data"]["values"]) == 9  # a point per sealed day past the first 100 units
    assert "the offline gain was 4 %" in page and "ada" in page


def test_after_a_promotion_what_led_to_it_is_drawn_until_there_is_more(port, desk, monkeypatch):
    shown = desk.experiment("ranker")
    drawn = lambda: text(port, "/experiments/ranker").partition("<figure")[2].partition("</figure>")[0]  # noqa: E731
    before, chart = shown["evaluation"], drawn()
    evidence = {**before["evidence"], "preference": {
        **before["evidence"]["preference"], "units": 0, "wins": 0, "losses": 0,
        "preference": {**before["evidence"]["preference"]["preference"], "value": None, "reason": "0 of 100"}}}
    led = {"series": before["series"], "preference": before["evidence"]["preference"]}
    fresh = {**shown, "evaluation": {**before, "series": [], "evidence": evidence, "led": led}}
    monkeypatch.setattr(desk, "experiment", lambda name: fresh)
    assert "Drawn is what led to the promotion" in text(port, "/experiments/ranker") and drawn() == chart
    fresh["evaluation"]["led"] = None
    page = text(port, "/experiments/ranker")
    assert "Drawn is what led" not in page and "nothing to draw yet" in page


def test_experiment_shows_sampled_requests_with_owners(port):
    page = text(port, "/experiments/ranker")
    assert 'class="candidate"' in page and 'class="champion"' in page
    assert page.count('<article class="sample">') == 4


def test_titles_are_text_and_never_markup(port):
    page = text(port, "/experiments/ranker")
    assert "&lt;b&gt;Title&lt;/b&gt; 3" in page
    assert "<b>Title</b>" not in page


def test_request_page_shows_lists_coins_and_plan(port, desk):
    from datetime import timedelta

    from incumbent.events.window import Window

    rows = desk.stores.lake.scan("impression", Window(desk.clock.now() - timedelta(days=60), desk.clock.now()))
    request_id = rows["request_id"][0].as_py()
    page = text(port, f"/requests/{request_id}")
    assert "personal 1 · ok" in page and "popular 1 · ok" in page
    assert "<code>0." in page  # a coin
    status, headers, _ = get(port, f"/find?q={request_id}")
    assert (status, headers["location"]) == (303, f"/requests/{request_id}")


def test_shopper_page_and_find(port):
    assert "2 requests" in text(port, "/users/u3")
    status, headers, _ = get(port, "/find?q=u%2F3")
    assert (status, headers["location"]) == (303, "/users/u%2F3")


@pytest.mark.parametrize(("path", "words"), [
    ("/experiments/nobody", "no such experiment"), ("/requests/made-up", "not a request id"),
    ("/users/" + "x" * 300, ""),
])
def test_what_is_not_there_is_said_on_a_page(port, path, words):
    status, _, body = get(port, path)
    assert status in (404, 422)
    assert words.encode() in body


def test_hostile_ids_are_escaped(port):
    page = text(port, "/users/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert "<script>alert" not in page


def test_chart_as_svg(port):
    status, headers, body = get(port, "/experiments/ranker/preference.svg")
    assert (status, headers["content-type"]) == (200, "image/svg+xml")
    assert body.startswith(b"<svg")


def test_assets(port):
    for name, kind in (("app.css", "text/css"), ("app.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        status, headers, _ = get(port, f"/static/{name}")
        assert status == 200 and headers["content-type"].startswith(kind)
    status, headers, body = get(port, "/static/vega.js")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert len(body) < 400_000
    assert get(port, "/static/../pages.py")[0] == 404
