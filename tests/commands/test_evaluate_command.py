"""`incumbent evaluate`, its files, and the pytest plugin: examples/release_gate holds and fails."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from incumbent import cli
from incumbent.clock import ManualClock
from incumbent.commands.evaluate import Wanted, carry_out
from incumbent.config import load
from incumbent.errors import ConfigError, NotFoundError
from incumbent.events.ids import EventIds
from incumbent.events.schema import Feedback, Impression, ModelAnswer, Slot

pytest_plugins = ["pytester"]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "release_gate"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """The example, its tables written, in a folder of its own that is the working directory."""
    folder = tmp_path / "gate"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("*.csv", "__pycache__", ".pytest_cache"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    for name in ("INCUMBENT_SERVICE__PORT", "INCUMBENT_SERVICE__HOST", "INCUMBENT_STORES__DIRECTORY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    runpy.run_path("shop.py")["write"](folder)
    yield folder
    sys.modules.pop("shop", None)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.main(["evaluate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return end.value.code, out, err


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_example_is_released(shop, capsys):
    code, out, _ = run(capsys, "--gate", "release.gate.toml")
    assert code == 0 and "RELEASED: 13 expectations met" in out and "FAILED" not in out
    assert "ndcg_achievable@10: candidate - champion at least -0.01, for the whole interval; got 0." in out


def test_a_daring_candidate_is_not(shop, capsys):
    """Exit code 6, and the same outcomes in all four forms."""
    code, out, _ = run(capsys, "--gate", "release.gate.toml", "--candidate", "shop:daring", "--junit", "r.xml",
                       "--html", "r.html", "--json-file", "r.json", "--json")
    told = json.loads(out)
    bad = [one for one in told["outcomes"] if not one["ok"]]
    assert code == 6 and told == json.loads((shop / "r.json").read_text()) and not told["ok"]
    assert {one["metric"] for one in bad} == {"ndcg_achievable@10", "recall@10", "hit_rate@10", "coverage@10",
                                              "invented_share", "behaviour.exclusions"}
    invented = next(one for one in bad if one["metric"] == "invented_share")
    assert invented["candidate"]["value"] == pytest.approx(0.1) and invented["champion"]["value"] == 0

    root = ElementTree.parse(shop / "r.xml").getroot()
    assert root.get("tests") == str(len(told["outcomes"])) and root.get("failures") == str(len(bad))
    failures = root.findall("./testsuite/testcase/failure")
    assert len(failures) == len(bad) and "champion 0.1982" in failures[0].text

    page = (shop / "r.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert not [tag for tag, attrs in tags.found if tag in ("script", "link", "img") or {"src", "href"} & attrs.keys()]
    assert page.count("class=failed") == len(bad) and "NOT RELEASED: 8 of 13" in page


@pytest.mark.parametrize(("arguments", "part"), [
    (("--gate", "none.toml"), "gate file cannot be read"),
    (("--gate", "release.gate.toml", "--candidate", "shop:favorites"), "has no attribute 'favorites'"),
    (("--gate", "release.gate.toml", "--data", "none.csv"), "no file of interactions"),
    (("--gate", "release.gate.toml", "--data", "items.csv"), "interactions lack columns user_id"),
    (("--gate", "release.gate.toml", "--data", "2026-03-01"), "there is no configuration"),
    (("--gate", "release.gate.toml", "--data", "2026-03-05..2026-03-01"), "not a period"),
    (("--gate", "release.gate.toml", "--catalogue", "shop.py"), "catalogue are in no known format"),
    (("--gate", "release.gate.toml", "--html", "no/such/folder.html"), "cannot be written")])
def test_bad_input_is_one_clear_error(shop, capsys, arguments, part):
    code, _, err = run(capsys, *arguments)
    assert code in (2, 4) and part in err and err.count("\n") == 1, err


def test_what_nobody_says_is_asked_for(shop):
    (shop / "bare.toml").write_text('[[expect]]\nmetric = "mrr@10"\nat_least = 0\n')
    for wanted, part in (({}, "nothing says the data"), ({"data": "bought.csv"}, "nothing says the candidate"),
                         ({"data": "bought.csv", "candidate": "shop:daring"}, "there is no configuration")):
        with pytest.raises(ConfigError, match=part):
            carry_out(Wanted(Path("bare.toml"), **wanted))


def test_a_logged_period_of_configured_models(shop, capsys):
    """Requests of the lake, the surface's own champion, and a model that is not configured with the nearest name."""
    from incumbent.commands.common import stores

    (shop / "incumbent.toml").write_text("""
        [models.bestsellers]
        target = "shop:bestsellers"
        deadline_ms = 5000
        [models.favourites]
        target = "shop:favourites"
        deadline_ms = 5000
        [surfaces.home]
        champion = "bestsellers"
    """)
    (shop / "lake.toml").write_text("""
        [[expect]]
        metric = "recall@10"
        compare = "difference"
        at_least = 0.0
        slice = {favourite = "song"}
    """)
    start = datetime(2026, 3, 2, 12, tzinfo=UTC)
    ids, events = EventIds(ManualClock(start)), []
    for n in range(40):
        event_id = ids.new()
        events += [
            Impression(event_id=event_id, request_id=event_id, ranking_id=event_id, time=start, user_id=f"u{n}",
                       surface="home", mode="champion", lane="none", plan="0" * 16,
                       slots=[Slot(1, "book-01", "solo", "champion")],
                       context={"favourite": "song" if n % 2 else "film"},
                       models=[ModelAnswer("champion", "bestsellers", "1", "ok", 2.0, 1, ["book-01"])]),
            Feedback(event_id=ids.new(), time=start + timedelta(hours=1), user_id=f"u{n}", item_id="song-05",
                     action="purchase")]
    with stores(load(shop / "incumbent.toml"), make=True) as held:
        held.lake.commit(events, "w", 0)
    asked = ("--gate", "lake.toml", "--data", "2026-03-02", "--candidate")
    code, out, _ = run(capsys, *asked, "favourites")
    assert code == 0 and "favourites 1 against bestsellers 1, on home 2026-03-02 to 2026-03-02" in out
    assert "n 20" in out and "users could only want" not in out and "could only want what they were shown" in out
    assert run(capsys, *asked, "favorites")[0] == 2
    with pytest.raises(NotFoundError, match="did you mean 'favourites'"):
        carry_out(Wanted(Path("lake.toml"), candidate="favorites", data="2026-03-02"))
    code, _, err = run(capsys, "--gate", "lake.toml", "--data", "2026-04-01", "--candidate", "favourites")
    assert code == 2 and "no request in the period" in err


def test_a_model_that_hangs_does_not_keep_the_build(shop):
    """Its threads never end; the gate does, with its exit code and its report."""
    (shop / "stuck.py").write_text("import threading\n\n\ndef model(request, k):\n    threading.Event().wait()\n")
    (shop / "stuck.toml").write_text(
        'deadline_ms = 50\nrequests = 8\n[[expect]]\nmetric = "error_rate"\nat_most = 0.5\n')
    done = subprocess.run(
        [sys.executable, "-m", "incumbent", "evaluate", "--gate", "stuck.toml", "--candidate", "stuck:model",
         "--champion", "shop:bestsellers", "--data", "bought.csv", "--junit", "r.xml"],
        cwd=shop, capture_output=True, text=True, timeout=120)
    assert done.returncode == 6 and "NOT RELEASED" in done.stdout and "no answer after" in done.stdout, done
    assert ElementTree.parse(shop / "r.xml").getroot().get("failures") == "1"


class TestPlugin:
    def gate(self, pytester, candidate):
        for name in ("shop.py", "release.gate.toml"):
            shutil.copy(EXAMPLE / name, pytester.path / name)
        text = (pytester.path / "release.gate.toml").read_text().replace("shop:favourites", candidate)
        (pytester.path / "release.gate.toml").write_text(text)
        runpy.run_path(str(pytester.path / "shop.py"))["write"](pytester.path)
        sys.modules.pop("shop", None)

    def test_every_expectation_is_a_test(self, pytester):
        self.gate(pytester, "shop:favourites")
        pytester.runpytest_inprocess("release.gate.toml").assert_outcomes(passed=11)

    def test_what_fails_prints_the_sentence(self, pytester):
        self.gate(pytester, "shop:daring")
        done = pytester.runpytest_inprocess("-q")
        done.assert_outcomes(passed=5, failed=6)
        done.stdout.fnmatch_lines(["*invented_share: candidate at most 0, for the value; got 0.1 *above the upper*",
                                   "*champion 0 *"])

    def test_a_gate_that_is_wrong_is_an_error_of_collection(self, pytester):
        (pytester.path / "x.gate.toml").write_text('[[expect]]\nmetric = "ndgc"\n')
        done = pytester.runpytest_inprocess("-q")
        done.assert_outcomes(errors=1)
        done.stdout.fnmatch_lines(["*no such metric of a release gate*"])

    def test_inert_without_a_gate(self, pytester):
        (pytester.path / "gate.toml").write_text("not = 'ours'")
        pytester.makepyfile("def test_nothing(): pass")
        pytester.runpytest_inprocess("-q").assert_outcomes(passed=1)

    def test_the_fixture_evaluates_from_python(self, pytester):
        self.gate(pytester, "shop:favourites")
        (pytester.path / "mine.toml").write_text('requests = 50\n[[expect]]\nmetric = "mrr@10"\nat_least = 0.2\n')
        pytester.makepyfile("""
            def test_mine(incumbent_gate):
                done = incumbent_gate("mine.toml", candidate="shop:daring", champion="shop:favourites",
                                      data="bought.csv")
                assert not done.ok and done.outcomes[0].candidate.value < 0.1
        """)
        pytester.runpytest_inprocess("-q", "test_the_fixture_evaluates_from_python.py").assert_outcomes(passed=1)


def test_the_page_shows_what_is_printed(shop, capsys):
    """Each line of the ```text block of docs/measure/evaluate.md, and its snippets of the gate file, as they are."""
    page = (EXAMPLE.parents[1] / "docs" / "measure" / "evaluate.md").read_text()
    out = run(capsys, "--gate", "release.gate.toml")[1] + run(capsys, "--gate", "release.gate.toml", "--candidate",
                                                              "shop:daring")[1]
    shown = page.partition("```text\n")[2].partition("```")[0].splitlines()
    assert len(shown) == 4 and not [line for line in shown if line not in out.splitlines()]
    snippet = page.partition("```toml\n")[2].partition("```")[0]
    gate = (EXAMPLE / "release.gate.toml").read_text()
    assert all(part.strip() in gate for part in snippet.split("\n\n"))
    for command in ("python shop.py", "--gate release.gate.toml --candidate shop:daring"):
        assert command in (EXAMPLE / "shop.py").read_text() and command in page


def test_the_plugin_loads_nothing_at_import():
    """It is imported by every pytest of an environment that has incumbent."""
    heavy = "{'numpy', 'scipy', 'pyarrow', 'msgspec', 'pydantic', 'typer', 'narwhals', 'duckdb'}"
    done = subprocess.run([sys.executable, "-c", f"import sys, incumbent.testing.pytest_gate\n"
                           f"assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
