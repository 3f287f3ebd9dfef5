"""The pages of one request and one shopper, and the one that finds them."""

import re
import urllib.request


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.read().decode()


def test_a_request_is_explained(port, desk):
    request = next(one for one in desk.stores.lake.scan("impression").to_pylist() if one["mode"] == "interleave")
    page = get(port, f"/requests/{request['request_id']}")
    assert "recomputed" in page and "lane, coins and slots recomputed: as logged" in page
    assert "The rounds, recomputed" in page and "u1 = " in page and "the full list" in page
    assert "What touches it" in page and "ADVANCE" in page


def test_a_shopper_has_experiments_and_exclusions(port, desk):
    desk.stores.control.exclude("u3", "<i>9", desk.clock.now())
    page = get(port, "/users/u3")
    assert "2 requests in" in page and "&lt;i&gt;9" in page and "<i>9" not in page


def test_the_page_finds(port, desk):
    page = get(port, "/trace")
    assert 'action="/find"' in page and ("/requests/" in page or "nothing was served" in page)
    assert re.search(r'name="q"[^>]*required', page)
    assert re.findall(r'<td class="num">([^<]*)', page) == [str(int(n)) for n in re.findall(
        r'<td class="num">(\d*)', page)]
