"""The page in a real browser: charts drawn under the content policy, light and dark, on a phone, steps by hand."""

import shutil

import pytest

pytestmark = pytest.mark.browser
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=ARGS)
        yield running
        running.close()


def opened(browser, port, path, **how):
    page = browser.new_page(**how)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.goto(f"http://127.0.0.1:{port}{path}")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_drawn_and_the_content_policy_is_kept(browser, port, scheme):
    page = opened(browser, port, "/experiments/ranker", color_scheme=scheme)
    page.wait_for_selector("[data-drawn] svg", timeout=60_000)
    assert page.locator("[data-drawn] svg path").count() > 3
    assert page.problems == []
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(16, 20, 27)") == (scheme == "dark")
    page.close()


@pytest.mark.parametrize("path", ["/", "/experiments/ranker", "/users/u3"])
def test_nothing_sticks_out_on_a_phone(browser, port, path):
    page = opened(browser, port, path, viewport={"width": 390, "height": 844})
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_a_step_needs_a_reason_and_is_sent_with_it(browser, port):
    page = opened(browser, port, "/experiments/ranker")
    sent = []

    def answer(route):
        sent.append(route.request.post_data_json)
        route.fulfill(status=409, json={"error": {"code": "conflict", "what": "the stage does not allow it",
                                                  "expected": "hold", "hint": None}})

    page.route("**/v1/experiments/ranker/hold", answer)
    page.get_by_role("button", name="hold").click()
    assert sent == []
    page.get_by_role("textbox", name="Why").fill("the sale starts tomorrow")
    page.get_by_role("textbox", name="Who").fill("ada")
    page.get_by_role("button", name="hold").click()
    page.get_by_text("the stage does not allow it. hold").wait_for()
    assert sent == [{"reason": "the sale starts tomorrow", "actor": "ada"}]
    page.close()
