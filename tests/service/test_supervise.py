"""The supervisor over stand-in parts: small scripts that keep the same protocol."""

import json
import os
import signal
import sys
import threading
import time

import pytest

from incumbent.clock import SystemClock
from incumbent.config import Config
from incumbent.errors import ConflictError
from incumbent.service.parts import Claim, listen
from incumbent.service.supervise import Supervisor

STUB = """
import json, os, signal, sys, time
line = b""
while not line.endswith(b"\\n"):
    line += os.read(0, 1)
told = json.loads(line)
folder = told["config"]["stores"]["directory"]
name = sys.argv[1] + "-" + sys.argv[2]
with open(os.path.join(folder, "events"), "a") as file:
    file.write(f"start {name}\\n")
script = json.load(open(os.path.join(folder, "script"))).get(name, [])
count = open(os.path.join(folder, "events")).read().count(f"start {name}\\n")
act = script[min(count, len(script)) - 1] if script else "serve"
def note(text):
    with open(os.path.join(folder, "events"), "a") as file:
        file.write(f"{text} {name}\\n")
def stop(*_):
    note("stop")
    if act != "deaf":
        sys.exit(0)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGHUP, lambda *_: note("hup"))
if act.startswith("exit"):
    sys.exit(int(act[4:]))
os.write(told["ready_fd"], b"1")
note("ready")
if act.startswith("serve-then-exit"):
    time.sleep(0.2)
    sys.exit(int(act[15:]))
while True:
    time.sleep(0.05)
"""


class Staged:
    def __init__(self, tmp_path, script, workers=1, drain_s=2.0, parts=("gateway", "collector", "loop", "page")):
        (tmp_path / "script").write_text(json.dumps(script))
        (tmp_path / "stub.py").write_text(STUB)
        (tmp_path / "events").write_text("")
        self.folder, self.said = tmp_path, []
        config = Config(service={"port": 0, "workers": workers, "drain_s": drain_s},
                        stores={"directory": str(tmp_path)}, models={"a": {"target": "m:a"}},
                        surfaces={"home": {"champion": "a"}})
        self.supervisor = Supervisor(config, parts, [sys.executable, str(tmp_path / "stub.py")], SystemClock(),
                                     say=self.said.append)

    def events(self):
        return (self.folder / "events").read_text().splitlines()

    def run(self, *signals, when=None):
        """Run; send signals once `when` holds (by default: once it is ready)."""
        def send():
            deadline = time.monotonic() + 60
            while not (when() if when else self.said):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
            for number in signals:
                os.kill(os.getpid(), number)
                time.sleep(0.3)

        sender = threading.Thread(target=send, daemon=True)
        if signals:
            sender.start()
        code = self.supervisor.run()
        if signals:
            sender.join()
        return code


def test_parts_start_say_ready_and_stop_in_order(tmp_path):
    staged = Staged(tmp_path, {}, workers=2)
    assert staged.run(signal.SIGTERM) == 0
    events = staged.events()
    assert sorted(e for e in events if e.startswith("start")) == [
        "start front-0", "start front-1", "start loop-0", "start page-0"]
    stops = [e for e in events if e.startswith("stop")]
    assert set(stops[:2]) == {"stop front-0", "stop front-1"} and stops[2:] == ["stop page-0", "stop loop-0"]
    assert len(staged.said) == 1 and staged.said[0].startswith("incumbent is ready on http://127.0.0.1:")


def test_hup_goes_to_the_fronts_alone(tmp_path):
    staged = Staged(tmp_path, {}, workers=2)
    assert staged.run(signal.SIGHUP, signal.SIGINT) == 0
    assert sorted(e for e in staged.events() if e.startswith("hup")) == ["hup front-0", "hup front-1"]


def test_a_part_that_dies_is_started_again_with_a_growing_pause(tmp_path):
    staged = Staged(tmp_path, {"loop-0": ["serve-then-exit1", "serve-then-exit-9", "serve"]})
    started = time.monotonic()
    assert staged.run(signal.SIGTERM, when=lambda: staged.events().count("ready loop-0") == 3) == 0
    assert time.monotonic() - started >= 0.25 + 0.5
    assert staged.events().count("start front-0") == 1


@pytest.mark.parametrize("code", [2, 3, 4])
def test_what_trying_again_would_not_help_stops_everything(tmp_path, code):
    staged = Staged(tmp_path, {"front-0": [f"exit{code}"]})
    assert staged.run() == code
    assert staged.events().count("start front-0") == 1
    assert any(f"exit code {code}" in line for line in staged.said)


def test_the_same_code_later_is_a_death_like_any_other(tmp_path):
    staged = Staged(tmp_path, {"front-0": ["serve-then-exit4", "serve"]})
    assert staged.run(signal.SIGTERM, when=lambda: staged.events().count("ready front-0") == 2) == 0


def test_a_part_that_never_gets_ready_is_given_up(tmp_path):
    staged = Staged(tmp_path, {"page-0": ["exit1"]})
    assert staged.run() == 1
    assert staged.events().count("start page-0") == 3
    assert "page-0 died 3 times before it was ready; stopping." in staged.said


def test_a_part_that_does_not_stop_is_killed_and_the_others_drain(tmp_path):
    staged = Staged(tmp_path, {"page-0": ["deaf"]}, drain_s=0.1)
    assert staged.run(signal.SIGTERM) == 1
    assert staged.events()[-1] == "stop loop-0"


def test_a_second_signal_does_not_wait(tmp_path):
    staged = Staged(tmp_path, {"front-0": ["deaf"]}, drain_s=60.0)
    started = time.monotonic()
    assert staged.run(signal.SIGTERM, signal.SIGTERM) == 1
    assert time.monotonic() - started < 30


def test_signals_are_put_back_and_the_directory_is_given_up(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    staged = Staged(tmp_path, {}, parts=("loop",))
    staged.run(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before
    assert staged.said[0].startswith("incumbent is ready (loop;")
    Claim(tmp_path, ("loop",)).give_up()


def test_a_claim_names_who_holds_it_and_parts_do_not_disturb_each_other(tmp_path):
    first = Claim(tmp_path, ("gateway", "collector"))
    Claim(tmp_path, ("loop",)).give_up()
    with pytest.raises(ConflictError, match=f"a collector already runs on this directory.*stop process {os.getpid()}"):
        Claim(tmp_path, ("loop", "collector"))
    Claim(tmp_path, ("loop",)).give_up()  # the half that was taken was given up again
    first.give_up()
    Claim(tmp_path, ("gateway", "collector")).give_up()


def test_a_port_is_taken_once():
    bound = listen("127.0.0.1", 0)
    with bound, pytest.raises(ConflictError, match="the port is taken"):
        listen("127.0.0.1", bound.getsockname()[1])
