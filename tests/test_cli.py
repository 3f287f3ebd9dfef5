import http.server
import json
import subprocess
import sys
import threading
import tomllib
from datetime import UTC, datetime, timedelta

import pytest

from incumbent import cli, registry
from incumbent.commands.init import FILES, init
from incumbent.config import load
from incumbent.errors import (
    AuthError,
    ConflictError,
    DataError,
    IncumbentError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from incumbent.loop import watermark
from incumbent.metrics.scorer import Facts, Text, scorer_of
from incumbent.stores.control import SqlControl


@pytest.fixture
def shop(tmp_path, monkeypatch):
    init(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("INCUMBENT_SERVICE__PORT", "INCUMBENT_SERVICE__HOST", "INCUMBENT_STORES__DIRECTORY"):
        monkeypatch.setenv(name, "")  # flags set these; put them back after the test
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def begun(shop):
    """A shop whose service has run."""
    SqlControl.in_directory(load(shop / "incumbent.toml").stores.directory).close()
    return shop


def run(capsys, *arguments):
    """Exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_init_writes_a_shop_that_is_sound_and_never_overwrites(tmp_path, capsys):
    code, out, _ = run(capsys, "init", str(tmp_path / "shop"))
    assert code == 0 and "incumbent serve" in out
    assert sorted(p.name for p in (tmp_path / "shop").iterdir()) == sorted(FILES)
    config = load(tmp_path / "shop" / "incumbent.toml")
    assert config.surfaces["home"].champion == "popular" and config.experiments["favourites"].candidate == "favourites"
    before = {name: (tmp_path / "shop" / name).read_bytes() for name in FILES}
    (tmp_path / "shop" / "shop.py").unlink()
    code, _, err = run(capsys, "init", str(tmp_path / "shop"))
    assert code == 3 and "init does not overwrite" in err
    assert [p.name for p in (tmp_path / "shop").iterdir()] == ["incumbent.toml"]  # all or nothing
    assert (tmp_path / "shop" / "incumbent.toml").read_bytes() == before["incumbent.toml"]


def test_the_examples_models_answer_as_models_must(shop):
    sys.path.insert(0, str(shop))
    try:
        from incumbent.models.callable import resolve
        from incumbent.models.guard import check_list
        from incumbent.models.recommender import Ask

        lists = [check_list(resolve(f"shop:{name}")(Ask("u1", "home", 50), 50), 50)
                 for name in ("popular", "favourites")]
        gone = Ask("u1", "home", 100, exclude=("book-1", "film-2"), exclude_categories=("game",))
        left = [dict(resolve(f"shop:{name}")(gone, 100)) for name in ("popular", "favourites")]
    finally:
        sys.path.remove(str(shop))
    assert all(not isinstance(found, str) and len(set(found[0])) == 50 for found in lists)
    assert lists[0][0] != lists[1][0]
    assert all(len(items) == 100 - 25 - 2 and not items.keys() & {"book-1", "film-2"} for items in left)
    assert not any(item.startswith("game-") for items in left for item in items)


@pytest.mark.parametrize(("text", "said"), [
    ('sliced = ["clik_through"]', "no such metric to cut. Got 'clik_through'. Hint: did you mean 'click_through'"),
    ('item_sliced = ["recall"]', "only what is counted by user-day, and slots bought, can be told by item"),
    ('without = ["ginni@10"]', "did you mean 'gini@10'?"),
    ('parents = { click_through = "timespent" }', "'time_spent'")])
def test_config_check_names_metrics_that_there_are_none_of(shop, capsys, text, said):
    with (shop / "incumbent.toml").open("a") as file:
        file.write(f"\n[metrics]\n{text}\n")
    code, _, err = run(capsys, "config", "check")
    assert code == 2 and said in err


@pytest.mark.parametrize(("text", "said"), [
    ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
    ("from numpy import nothing_of_that_name", "cannot import name 'nothing_of_that_name' from 'numpy'"),
    ("import numpy.nothing_of_that_name", "No module named 'numpy.nothing_of_that_name'")])
def test_config_check_names_a_metric_that_cannot_be_imported(shop, capsys, monkeypatch, text, said):
    (shop / "basket_fit.py").write_text(text)
    (shop / "basket_fit-1.dist-info").mkdir()
    (shop / "basket_fit-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: basket-fit\nVersion: 1\n")
    (shop / "basket_fit-1.dist-info" / "entry_points.txt").write_text(
        "[incumbent.metrics]\nbasket_fit = basket_fit:basket_fit\n")
    with (shop / "incumbent.toml").open("a") as file:
        file.write("\n[metrics.settings.basket_fit]\n")
    monkeypatch.syspath_prepend(str(shop))
    registry._points.cache_clear()
    try:
        code, out, err = run(capsys, "config", "check")
    finally:
        registry._points.cache_clear()
    assert code == 2 and "a metric cannot be imported" in err and said in err and "sound" not in out


def test_config_check_reads_the_gates_of_what_runs(shop, capsys):
    with (shop / "incumbent.toml").open("a") as file:
        file.write('\n[metrics.gates]\nhome = "live.gate.toml"\n')
    code, out, err = run(capsys, "config", "check")
    assert code == 2 and "gate file cannot be read. Got 'live.gate.toml'" in err and "sound" not in out
    for name, wanted in (("recal@5", 2), ("recall@5", 0)):
        (shop / "live.gate.toml").write_text(f'[[expect]]\nmetric = "{name}"\nat_least = 0.1\n')
        code, out, err = run(capsys, "config", "check")
        assert code == wanted and ("Got 'recal@5'" in err) == (wanted == 2) and ("sound" in out) == (wanted == 0)


def test_a_scorer_beside_the_configuration_is_loaded_by_commands_as_by_the_service(
        shop, capsys, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(shop)])
    with (shop / "incumbent.toml").open("a") as file:
        file.write('\n[text]\nscorers = ["my_checks_here:shouting"]\n')
    code, out, err = run(capsys, "config", "check")
    assert code == 2 and "sound" not in out and "scorer cannot be loaded. Got 'my_checks_here:shouting'" in err
    (shop / "my_checks_here.py").write_text("1 / 0\n")
    code, out, err = run(capsys, "config", "check")
    assert code == 2 and "division by zero" in err
    (shop / "my_checks_here.py").write_text("def shouting(text, facts):\n    return []\n")
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(shop)])
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    code, out, err = run(capsys, "config", "check", "--config", str(shop / "incumbent.toml"))
    monkeypatch.delitem(sys.modules, "my_checks_here", raising=False)
    assert code == 0 and "sound" in out, err
    SqlControl.in_directory(shop / "data").close()
    code, _, err = run(capsys, "report", "--config", str(shop / "incumbent.toml"), "--dir", str(shop / "data"))
    assert code == 0, err
    assert scorer_of("my_checks_here:shouting")(Text("HA"), Facts()) == []  # what a report of written texts loads
    monkeypatch.delitem(sys.modules, "my_checks_here")


def test_config_check_names_every_mistake(shop, capsys):
    code, out, _ = run(capsys, "config", "check")
    assert code == 0 and "the configuration is sound" in out and "surface home: champion popular" in out
    text = (shop / "incumbent.toml").read_text()
    (shop / "incumbent.toml").write_text(text.replace('champion = "popular"', 'champion = "populr"').replace(
        "port = 8000", 'prot = 8000').replace("alpha = 0.05", "alpha = 5"))
    code, _, err = run(capsys, "config", "check")
    assert code == 2
    for piece in ("has 3 mistakes", "Hint: did you mean 'popular'?",
                  "service.prot: unknown key. Hint: did you mean 'port'?", "experiments.favourites.alpha: "):
        assert piece in err
    assert "Traceback" not in err


def test_without_a_configuration_it_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in (["serve"], ["report"], ["experiment", "list"], ["config", "check"]):
        code, _, err = run(capsys, *command)
        assert code == 2 and "`incumbent init` writes one" in err


@pytest.mark.parametrize(("arguments", "piece"), [
    (["serve", "--only", "gatway"], "did you mean 'gateway'?"),
    (["serve", "--prot", "1"], "No such option"),
    (["experiment", "start", "favourites"], "--reason"),
    (["experiment", "start", "favourites", "--reason", "  "], "needs a reason"),
    (["experiment", "start", "favourits", "--reason", "x"], "no such experiment"),
    (["experiment", "list", "--url", "localhost:8000"], "not a URL"),
    (["trace", "request", "nonsense"], "not a request id"),
    (["demo", "--candidate", "best"], "no such candidate"),
    (["demo", "--shoppers", "0"], "needs shoppers"),
    (["source", "retire", "elsewhere"], "--reason"),
    (["source", "retire", "elsewhere", "--reason", "burnt"], "no such source"),
    (["check", "stats"], "no checks plugin of that name"),
    (["nonsense"], "No such command"),
])
def test_bad_input_is_one_message_and_exit_code_2(begun, capsys, arguments, piece):
    code, _, err = run(capsys, *arguments)
    assert code == 2 and piece in " ".join(err.split()) and "Traceback" not in err


DAYS = ("--from", "2026-03-01", "--to", "2026-03-08", "--reason", "x")


@pytest.mark.parametrize("command", [
    ("report",), ("experiment", "list"), ("experiment", "show", "favourites"), ("trace", "request", "r"),
    ("trace", "user", "u1"), ("quarantine", "list"), ("quarantine", "show", "e"),
    ("quarantine", "replay", "--reason", "x"), ("drift", "status"), ("drift", "audit"), ("baseline", "list"),
    ("baseline", "show", "spring"), ("baseline", "build", *DAYS), ("baseline", "pin", "spring", "--reason", "x"),
    ("source", "list"), ("source", "retire", "there", "--reason", "x"), ("erase", "u1", "--reason", "asked"),
    ("experiment", "start", "favourites", "--reason", "x"),
    ("evaluate", "--off-policy", "--data", "2026-03-01"),
    ("evaluate", "--off-policy", "--data", "2026-03-01", "--candidate", "shop:popular"),
    ("evaluate", "--data", "2026-03-01", "--candidate", "favourites")], ids=" ".join)
def test_a_directory_in_which_nothing_was_kept_is_left_as_it_is(shop, capsys, monkeypatch, command):
    """Neither one that is not there is made nor one that is there filled, under a replay clock least of all."""
    monkeypatch.setenv("INCUMBENT_SERVICE__CLOCK", "replay")
    monkeypatch.setenv("INCUMBENT_SERVICE__REPLAY_START", "2026-03-01T00:00:00Z")
    (shop / "gate.toml").write_text('[[expect]]\nmetric = "mrr@10"\nat_least = 0\n')
    (shop / "there").mkdir()
    for name in ("typo", "there"):
        code, out, err = run(capsys, *command, "--dir", name)
        assert code == 2 and not out
        assert err.startswith("incumbent: no service has kept anything in this directory.") and err.count("\n") == 1
        assert f"Got '{name}'. Expected the data directory" in err and "`incumbent serve` makes one" in err
    assert not (shop / "typo").exists() and not list((shop / "there").iterdir())


def test_an_experiment_by_the_command_line_on_a_directory(shop, capsys):
    code, out, _ = run(capsys, "experiment", "start", "favourites", "--reason", " ")
    assert code == 2  # before a service has run there is a directory to begin, and nothing else
    assert json.loads(run(capsys, "experiment", "list", "--json")[1])[0]["stage"] is None
    code, out, _ = run(capsys, "experiment", "start", "favourites", "--reason", "try it")
    assert code == 0 and "stage shadow" in out
    code, _, err = run(capsys, "experiment", "promote", "favourites", "--reason", "now")
    assert code == 3 and "cannot promote" in err and "hold, discard, roll_back" in err
    shown = json.loads(run(capsys, "experiment", "show", "favourites", "--json")[1])
    assert (shown["stage"], shown["decisions"][0]["reason"]) == ("shadow", "try it")
    code, out, _ = run(capsys, "experiment", "show", "favourites")
    assert code == 0 and "favourites against the champion of home; shadow" in out and "try it" in out
    code, out, _ = run(capsys, "report")
    assert code == 0 and "experiment favourites: shadow" in out
    assert {s["subject"] for s in json.loads(run(capsys, "report", "--json")[1])["sections"]} == {
        "surface:home", "experiment:favourites"}
    traced = json.loads(run(capsys, "trace", "user", "u1", "--json")[1])
    assert traced["counts"] == {"requests": 0, "events": 0, "outcomes": 0} and traced["told"] == []
    code, out, err = run(capsys, "trace", "user", "u1")
    assert code == 2 and not out and "nothing is known of this shopper" in err and "u1" in err


def test_a_host_that_is_gone_is_retired_by_the_command_line(begun, capsys):
    assert "no sealer has run" in run(capsys, "source", "list")[1]
    control, now = SqlControl.in_directory(load(begun / "incumbent.toml").stores.directory), datetime.now(UTC)
    for name, days in (("here", 0), ("there", 2)):
        watermark.record(control, name, now - timedelta(days=days), now - timedelta(days=days))
    listed = json.loads(run(capsys, "source", "list", "--json")[1])
    assert [(one["source"], one["waited_for"], one["retired"]) for one in listed] == [
        ("here", False, False), ("there", True, False)]
    code, out, _ = run(capsys, "source", "retire", "there", "--reason", "its disk burnt")
    assert code == 0 and "waited for no more" in out
    assert [audit.reason for audit in control.conclusions("audit", "source:there")] == ["its disk burnt"]
    assert "left out" in run(capsys, "source", "list")[1]
    code, _, err = run(capsys, "source", "retire", "here", "--reason", "no")
    assert code == 3 and "alive" in err
    control.close()


def test_check_runs_one_implementation_of_a_suite(capsys):
    code, out, _ = run(capsys, "check", "states:moments")
    assert code == 0 and "every law holds" in out and "moments" in out
    made = json.loads(run(capsys, "check", "states:counts", "--json")[1])
    assert made["failed"] == 0 and len(made["suites"]["states:counts"]) > 3


def test_on_a_base_install_it_says_what_to_install(shop):
    """With the lake's packages hidden, as if they were not installed."""
    hide = ("import sys\n"
            "class Hidden:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name.partition('.')[0] in ('numpy', 'pyarrow', 'deltalake', 'scipy'):\n"
            "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
            "sys.meta_path.insert(0, Hidden())\n"
            "from incumbent.cli import main\n")
    out = subprocess.run([sys.executable, "-c", hide + "main(['experiment', 'list'])"], capture_output=True, text=True,
                         timeout=300)
    assert out.returncode == 2 and "pip install 'incumbent[local]'" in out.stderr and "Traceback" not in out.stderr
    out = subprocess.run([sys.executable, "-c", hide + "main(['config', 'check'])"], capture_output=True, text=True,
                         timeout=300)
    assert out.returncode == 0


def test_a_service_that_does_not_answer(capsys):
    code, _, err = run(capsys, "experiment", "list", "--url", "http://127.0.0.1:9")
    assert code == 1 and "the service does not answer" in err


@pytest.mark.parametrize(("told", "expected"), [
    (ConflictError("it is ended", got="discard", expected="no further step"), 3),
    (StoreError("the disk is full"), 4), (NotFoundError("no such experiment", got="x"), 2), (DataError("no reason"), 2),
    (AuthError("no API key"), 2), (UnavailableError("the page does not answer"), 1), (IncumbentError("a mistake"), 1)])
def test_a_command_ends_by_what_the_service_said(capsys, told, expected):
    """The same message, and the same exit code as on a directory."""
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(told.to_dict()).encode()
            self.send_response(told.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *parts):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        code, _, err = run(capsys, "experiment", "list", "--url", f"http://127.0.0.1:{server.server_port}")
    assert (code, err.strip()) == (expected, f"incumbent: {told}")


def test_the_command_line_is_light_until_it_is_used():
    heavy = "{'numpy', 'pyarrow', 'fastapi', 'pydantic', 'sqlalchemy', 'uvicorn'} & set(sys.modules)"
    out = subprocess.run([sys.executable, "-c", f"import sys; import incumbent.cli; print({heavy})"],
                         capture_output=True, text=True, check=True, timeout=120)
    assert out.stdout.strip() == "set()"


def test_python_m_is_the_command(tmp_path):
    out = subprocess.run([sys.executable, "-m", "incumbent", "--help"], capture_output=True, text=True, timeout=120)
    assert out.returncode == 0
    for command in ("init", "serve", "demo", "experiment", "trace", "report", "check", "config"):
        assert command in out.stdout


def test_the_written_configuration_comments_what_it_sets(tmp_path):
    init(tmp_path)
    text = (tmp_path / "incumbent.toml").read_text()
    assert set(tomllib.loads(text)) == {"service", "stores", "models", "surfaces", "experiments"}
    assert text.count("#") > 12
