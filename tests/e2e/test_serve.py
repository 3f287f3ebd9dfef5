"""`incumbent serve` as a real process: what is acknowledged is in the lake, whatever happens in between."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from incumbent.client import Client
from incumbent.clock import SystemClock
from incumbent.commands.init import init
from incumbent.config import load
from incumbent.events.ids import EventIds
from incumbent.testing.running import Running

IDS = EventIds(SystemClock())


def shop(tmp_path, text="", workers=1):
    """The example of `incumbent init`, with its intervals shortened."""
    init(tmp_path)
    file = tmp_path / "incumbent.toml"
    sound = file.read_text().replace("workers = 1", f"workers = {workers}\ndrain_s = 60")
    for patient in ("deadline_ms = 150", "deadline_ms = 100", 'target = "shop:favourites"'):  # a machine under load
        sound = sound.replace(patient, f"deadline_ms = 20000\n{'' if 'target' not in patient else patient}")
    file.write_text(sound
                    + '\n[loop]\nseal_s = 1\nattribute_s = 1\ndecide_s = 1\nact_s = 0.2\n' + text)
    return tmp_path


def request(k=5, user="u1", **more):
    return {"surface": "home", "user_id": user, "k": k, **more}


def feedback(user="u1", item="book-1", **more):
    return {"type": "feedback", "event_id": IDS.new(), "time": datetime.now(UTC).isoformat(), "user_id": user,
            "item_id": item, "action": "click", **more}


def lake_ids(directory):
    """Event ids by table, straight from the lake, as it is after a stop."""
    from incumbent.stores.lake import DeltaLake

    lake = DeltaLake(directory / "incumbent-data" / "lake", 16, clock=SystemClock())
    return {table: lake.scan(table, columns=["event_id"])["event_id"].to_pylist()
            for table in ("impression", "feedback", "quarantine")}


def test_a_shop_from_init_to_the_lake_and_back(tmp_path):
    shop(tmp_path, workers=2)
    served, sent, rejected = [], [], 0
    with Running(tmp_path) as service:
        status, ready = service.ask("GET", "/readyz")
        assert status in (200, 503) and set(ready["checks"]) == {"log", "plan", "loop", "page"}
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(
                lambda n: service.ask("POST", "/v1/recommendations", request(user=f"u{n % 20}")), range(60)))
        assert all(status == 200 and len(answer["items"]) == 5 for status, answer in answers)
        served += [answer["request_id"] for _, answer in answers]
        for n in range(10):
            batch = [feedback(user=f"u{m % 20}", request_id=served[m], item="book-13") for m in range(6 * n, 6 * n + 6)]
            batch.append({**feedback(), "value_minor": -1})
            status, receipt = service.ask("POST", "/v1/events", {"events": batch})
            assert status == 200 and (receipt["accepted"], receipt["rejected"]) == (6, 1)
            sent += [event["event_id"] for event in batch[:6]]
            rejected += 1
        status, receipt = service.ask("POST", "/v1/events", {"events": batch[:6]})
        assert status == 200 and receipt["duplicate"] + receipt["accepted"] == 6
        with Client(service.url, secret=(tmp_path / "incumbent-data" / "secret").read_text().strip()) as client:
            served.append(client.draft("home", "u77", 3, champion=["a", "b"], candidate=["c"]).request_id)
            assert client.flush(60) and (client.sent.accepted, client.sent.rejected) == (1, 0)
        with Client(service.url, secret="another secret than the service's") as client:
            client.draft("home", "u77", 3, champion=["a", "b"], candidate=["c"])
            assert client.flush(60) and client.sent.rejected == 1
            rejected += 1
        assert service.stop() == 0
    kept = lake_ids(tmp_path)
    assert sorted(kept["impression"]) == sorted(r.partition(".")[0] for r in served)
    assert sorted(kept["feedback"]) == sorted(sent)
    assert len(kept["quarantine"]) == rejected

    with Running(tmp_path) as service:  # and on again where it stopped
        _, answer = service.ask("POST", "/v1/recommendations", request(k=3))
        served.append(answer["request_id"])
        service.wait_for(lambda: service.ask("GET", f"/v1/trace/request/{answer['request_id']}")[0] == 200, "sealed")
        traced = service.ask("GET", f"/v1/trace/request/{served[0]}")[1]
        assert [e["item_id"] for e in traced["events"]] == ["book-13"]
        assert len(traced["request"]["models"][0]["items"]) == 100
        assert traced["plan"]["surface"]["champion"] == "popular"
        _, user = service.ask("GET", "/v1/trace/user/u0")
        assert user["counts"]["requests"] == 3 and user["counts"]["events"] == 3
    assert len(lake_ids(tmp_path)["impression"]) == len(served) == 62


def test_an_experiment_is_started_served_and_rolled_back_by_hand(tmp_path):
    shop(tmp_path)
    toml = tmp_path / "incumbent.toml"
    toml.write_text(toml.read_text().replace(
        'actions = { purchase = 1.0 }', 'actions = { purchase = 1.0 }\nholdout = 0.0\nguardrails = []\n'
        'stages = [{ stage = "ramp_50", share = 0.5 }]').replace("holdout = 0.1 ", "# holdout = 0.1 "))
    with Running(tmp_path) as service:
        assert service.ask("GET", "/v1/experiments")[1][0]["steps"] == ["start"]
        status, error = service.ask("POST", "/v1/experiments/favourites/start", {"reason": ""})
        assert status == 422 and error["error"]["field"] == "reason"
        status, decision = service.ask("POST", "/v1/experiments/favourites/start", {"reason": "see it", "actor": "me"})
        assert status == 200 and (decision["by"], decision["evidence"]["on_behalf_of"]) == ("anonymous", "me")
        assert service.ask("POST", "/v1/experiments/favourites/start", {"reason": "again"})[0] == 409

        def owners():
            _, answer = service.ask("POST", "/v1/recommendations", request(k=10, debug=True))
            return {slot.get("owner") for slot in answer["debug"]["slots"]}

        service.wait_for(lambda: "candidate" in owners(), "interleaving")
        output = subprocess.run(
            [sys.executable, "-m", "incumbent", "experiment", "rollback", "favourites", "--reason", "enough"],
            cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert output.returncode == 0, output.stderr
        service.wait_for(lambda: owners() == {"champion"}, "rolled back")
        assert service.ask("GET", "/v1/experiments/favourites")[1]["stage"] == "ended"
        audits = service.ask("GET", "/v1/audits")[1]
        assert {a["reason"] for a in audits} == {"see it", "enough"}


@pytest.mark.slow
def test_exclusions_hold_at_once_and_everywhere(tmp_path):
    shop(tmp_path, workers=2)
    with Running(tmp_path) as service:
        first = service.ask("POST", "/v1/recommendations", request())[1]["items"][0]["item_id"]
        assert service.ask("POST", "/v1/events", [feedback(item=first, action="exclude")])[0] == 200
        time.sleep(1.2)
        for _ in range(20):  # over both workers
            items = service.ask("POST", "/v1/recommendations", request())[1]["items"]
            assert first not in {item["item_id"] for item in items}
        assert service.ask("GET", "/v1/exclusions/u1")[1]["items"] == [first]
        status, told = service.ask("POST", "/v1/exclusions", {"user_id": "u1", "item_id": first, "excluded": False})
        assert (status, told["items"]) == (200, [])
        time.sleep(1.2)
        assert service.ask("GET", "/v1/exclusions/u1")[1] == {"items": [], "categories": [], "events": []}


@pytest.mark.slow
def test_a_part_that_dies_is_started_again_and_nothing_acknowledged_is_lost(tmp_path):
    shop(tmp_path)
    sent = []
    with Running(tmp_path) as service:
        for _ in range(5):
            event = feedback()
            assert service.ask("POST", "/v1/events", [event])[0] == 200
            sent.append(event["event_id"])
        for name in ("front-0", "loop-0", "page-0"):
            before = service.children()
            os.kill(before[name], signal.SIGKILL)
            service.wait_for(lambda pid=before[name], name=name: service.children().get(name, pid) != pid, "restarted")
        event = feedback()

        def taken():
            try:
                return service.ask("POST", "/v1/events", [event])[0] == 200
            except OSError:
                return False

        service.wait_for(taken, "back")
        sent.append(event["event_id"])
        service.wait_for(lambda: service.ask("GET", "/v1/experiments")[0] == 200, "page back")
        assert "a part died" in service.text
    assert sorted(lake_ids(tmp_path)["feedback"]) == sorted(sent)


@pytest.mark.slow
def test_children_go_when_the_supervisor_is_killed(tmp_path):
    shop(tmp_path)
    service = Running(tmp_path)
    service.wait_until_ready()
    event = feedback()
    assert service.ask("POST", "/v1/events", [event])[0] == 200
    children = service.children()
    assert set(children) == {"front-0", "loop-0", "page-0"}
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in children.values()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with Running(tmp_path, only=["loop"]):
        pass
    assert lake_ids(tmp_path)["feedback"] == [event["event_id"]]


@pytest.mark.slow
def test_parts_run_apart_on_one_directory(tmp_path):
    shop(tmp_path)
    with Running(tmp_path, only=["gateway", "collector"]) as front:
        assert front.ask("GET", "/readyz") == (200, {"ready": True, "checks": {"log": "ok", "plan": "ok"}})
        assert front.ask("POST", "/v1/recommendations", request())[0] == 200
        assert front.ask("GET", "/v1/experiments")[0] == 404
        with Running(tmp_path, only=["page"]) as page:
            assert page.ask("GET", "/v1/experiments")[0] == 200
            status, error = page.ask("POST", "/v1/recommendations", request())
            assert status == 503 and error["error"]["code"] == "unavailable"
        with Running(tmp_path, only=["loop"]):
            time.sleep(1.5)
    with Running(tmp_path, only=["loop"]):  # seals what the front left
        pass
    assert len(lake_ids(tmp_path)["impression"]) == 1


def serve(directory, *arguments, **options):
    return subprocess.run([sys.executable, "-m", "incumbent", "serve", *arguments], cwd=directory, timeout=300,
                          capture_output=True, text=True, **options)


def test_a_second_service_on_one_directory_is_refused(tmp_path):
    shop(tmp_path)
    with Running(tmp_path, only=["collector"]):
        second = serve(tmp_path, "--port", "0", "--only", "collector")
    assert second.returncode == 3
    assert "a collector already runs on this directory" in second.stderr and "Hint: stop process" in second.stderr


def test_a_port_that_is_taken(tmp_path):
    shop(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = serve(tmp_path, "--port", str(port))
    assert refused.returncode == 3 and f"the port is taken. Got '127.0.0.1:{port}'" in refused.stderr


@pytest.mark.parametrize("directory", ["/proc/self/incumbent-data", "incumbent.toml"])
def test_a_directory_that_cannot_be_written(tmp_path, directory):
    """The kernel's own file system lets nobody write, not even root; and a file is no directory."""
    shop(tmp_path)
    refused = serve(tmp_path, "--port", "0", "--dir", directory)
    assert refused.returncode == 4
    assert f"the directory cannot be written. Got '{directory}'" in refused.stderr and "Traceback" not in refused.stderr


def test_a_model_that_does_not_load_is_said_at_the_start(tmp_path):
    shop(tmp_path)
    toml = tmp_path / "incumbent.toml"
    toml.write_text(toml.read_text().replace('target = "shop:popular"', 'target = "shop:populr"'))
    refused = serve(tmp_path, "--port", "0", "--only", "gateway")
    assert refused.returncode == 2 and "populr" in refused.stderr


@pytest.mark.slow
def test_a_damaged_inbox_is_set_aside_and_the_service_runs(tmp_path):
    shop(tmp_path)
    service = Running(tmp_path, only=["collector"])
    service.wait_until_ready()
    sent = [feedback() for _ in range(3)]
    assert service.ask("POST", "/v1/events", sent)[0] == 200
    service.kill()
    [inbox] = (tmp_path / "incumbent-data" / "inbox").glob("*.sqlite")
    with inbox.open("r+b") as file:
        file.write(os.urandom(4096))
    with Running(tmp_path, only=["collector", "loop"]) as service:
        more = feedback()
        assert service.ask("POST", "/v1/events", [more])[0] == 200
        service.wait_for(lambda: "damaged" in service.text or "inbox" in service.text, "told")
    assert more["event_id"] in lake_ids(tmp_path)["feedback"]


@pytest.mark.slow
def test_the_full_disk_is_a_503_and_nothing_is_half_acknowledged(tmp_path):
    """A limit on file size stands in for the disk's end: SQLite gets the same refusal."""
    shop(tmp_path)
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)); " \
            "sys.argv = ['incumbent', 'serve', '--port', '0', '--only', 'collector']; " \
            "runpy.run_module('incumbent', run_name='__main__')"
    service = Running(tmp_path, command=[sys.executable, "-c", limit])
    service.wait_until_ready()
    acknowledged, refused = [], None
    for _ in range(60):
        batch = [feedback(context={"note": "x" * 900}) for _ in range(50)]
        status, answer = service.ask("POST", "/v1/events", batch)
        if status == 503:
            refused = answer
            break
        assert status == 200
        acknowledged += [event["event_id"] for event in batch]
    assert refused is not None and refused["error"]["code"] == "store" and acknowledged
    assert service.ask("GET", "/readyz")[0] == 503
    service.stop()
    with Running(tmp_path, only=["loop"]):
        pass
    assert set(acknowledged) <= set(lake_ids(tmp_path)["feedback"])


def test_a_front_loads_no_engine(tmp_path):
    """A real front process: neither the lake nor the engine nor NumPy is in it."""
    init(tmp_path)
    (tmp_path / "spy.py").write_text(
        "import json, sys\n"
        "async def popular(request, k):\n"
        "    heavy = {'numpy', 'scipy', 'pyarrow', 'deltalake', 'duckdb', 'narwhals', 'pandas', 'jinja2'}\n"
        "    return [(name, None) for name in sorted(heavy & set(sys.modules))] + [('end', None)]\n")
    toml = tmp_path / "incumbent.toml"
    toml.write_text(toml.read_text().replace("shop:popular", "spy:popular"))
    with Running(tmp_path, only=["gateway", "collector"]) as service:
        assert service.ask("POST", "/v1/events", [feedback()])[0] == 200
        assert service.ask("GET", "/metrics")[0] == 200
        _, answer = service.ask("POST", "/v1/recommendations", request())
    assert [item["item_id"] for item in answer["items"]] == ["end"]


@pytest.mark.slow
def test_a_replay_has_a_clock_that_is_advanced(tmp_path):
    shop(tmp_path)
    toml = tmp_path / "incumbent.toml"
    toml.write_text(toml.read_text().replace(
        "[service]", '[service]\nclock = "replay"\nreplay_start = 2017-07-01T00:00:00Z'))
    with Running(tmp_path) as service:
        assert service.ask("GET", "/v1/clock")[1] == {"now": "2017-07-01T00:00:00+00:00"}
        assert service.ask("POST", "/v1/clock", {"now": "2017-07-09T12:00:00Z"})[0] == 200
        status, error = service.ask("POST", "/v1/clock", {"now": "2017-07-09T11:00:00Z"})
        assert status == 422 and "does not step back" in error["error"]["what"]
        _, answer = service.ask("POST", "/v1/recommendations", request())
        early = feedback(time="2017-07-09T11:59:00Z", request_id=answer["request_id"])
        late = feedback(time=datetime.now(UTC).isoformat())
        _, receipt = service.ask("POST", "/v1/events", [early, late])
        assert (receipt["accepted"], receipt["rejected"]) == (1, 1) and receipt["items"][0]["kind"] == "time"
        service.wait_for(lambda: service.ask("GET", f"/v1/trace/request/{answer['request_id']}")[0] == 200, "sealed")
        traced = service.ask("GET", f"/v1/trace/request/{answer['request_id']}")[1]
        assert traced["request"]["time"].startswith("2017-07-09T12:00:00")
    assert load(toml).service.clock == "replay"
    assert json.dumps(traced)


@pytest.mark.slow
def test_there_is_no_clock_route_otherwise(tmp_path):
    shop(tmp_path)
    with Running(tmp_path, only=["page"]) as service:
        assert service.ask("POST", "/v1/clock", {"now": "2017-07-09T12:00:00Z"})[0] == 404
        status, document = service.ask("GET", "/openapi.json")
        assert status == 200 and "/v1/clock" not in document["paths"] and "/v1/events" in document["paths"]
