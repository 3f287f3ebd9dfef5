"""What a killed supervisor leaves in the temporary directory, and who clears it away; it is really killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from incumbent.service.scratch import LOCK, scratch

#: a part that outlives its supervisor: it notes its process id, is ready, and stays
PART = """
import json, os, sys, time
line = b""
while not line.endswith(b"\\n"):
    line += os.read(0, 1)
told = json.loads(line)
with open(os.path.join(told["config"]["stores"]["directory"], "part"), "w") as file:
    file.write(str(os.getpid()))
os.write(told["ready_fd"], b"1")
time.sleep(600)
"""
SUPERVISOR = """
import sys
from incumbent.clock import SystemClock
from incumbent.config import Config
from incumbent.service.supervise import Supervisor
config = Config(stores={"directory": sys.argv[1]})
say = lambda line: print(line, flush=True)
Supervisor(config, ("loop",), [sys.executable, sys.argv[2]], SystemClock(), say=say).run()
"""


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Starts supervisors with a temporary directory of their own; ends what is left of them."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    (tmp_path / "part.py").write_text(PART)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    begun = []

    class House:
        def folders(self):
            return {path for path in temporary.iterdir() if path.name.startswith("incumbent-")}

        def start(self, name):
            """A supervisor that is ready, and the folder that it made."""
            before, data = self.folders(), tmp_path / name
            data.mkdir()
            process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(data), str(tmp_path / "part.py")],
                                       stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(temporary)})
            begun.append((process, data / "part"))
            assert "is ready" in process.stdout.readline()
            [made] = self.folders() - before
            return process, made, int((data / "part").read_text())

    house = House()
    yield house
    for process, part in begun:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        os.kill(int(part.read_text()), signal.SIGKILL)


def test_the_next_start_removes_what_a_killed_supervisor_left_and_nothing_that_lives(house):
    foreign = Path(tempfile.gettempdir()) / "incumbent-demo"
    foreign.mkdir()
    with scratch() as kept:
        killed, left, part = house.start("killed")
        assert house.folders() == {foreign, kept, left}
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        os.kill(part, 0)  # what it started lives on
        assert house.folders() == {foreign, kept, left}
        living, own, _ = house.start("next")
        assert house.folders() == {foreign, kept, own} and living.poll() is None
    with scratch() as mine:
        assert house.folders() == {foreign, own, mine}


def test_neither_a_folder_that_is_being_made_nor_a_link_is_taken_for_a_dead_one(house):
    temporary = Path(tempfile.gettempdir())
    (temporary / "incumbent-new").mkdir()
    (temporary / "incumbent-new" / f"{LOCK}.new").touch()
    (temporary / "incumbent-file").touch()
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (temporary / "incumbent-link").symlink_to(elsewhere)
    (temporary / "incumbent-linked").mkdir()
    (temporary / "incumbent-linked" / LOCK).symlink_to(elsewhere / LOCK)
    before = house.folders()
    with scratch() as mine:
        assert house.folders() == {*before, mine} and (elsewhere / LOCK).exists()
    assert house.folders() == before
