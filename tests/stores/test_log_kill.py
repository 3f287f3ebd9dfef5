"""A producer is killed at random moments; its own synced file of acknowledgements is the oracle: 0 lost, 0 twice."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from incumbent.clock import SystemClock
from incumbent.stores.inbox import EmbeddedLog

#: twenty coroutines append batches; what was sent and not acknowledged before the last death is sent again first
PRODUCER = """
import asyncio, os, sys
from pathlib import Path
from incumbent.clock import SystemClock
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.store import Record
folder = Path(sys.argv[1])
sent_path, acked_path = folder / "sent", folder / "acked"
for path in (sent_path, acked_path):
    path.touch()
    lines = path.read_bytes()
    path.write_bytes(lines[:lines.rfind(b"\\n") + 1])
sent, acked = sent_path.read_text().split(), set(acked_path.read_text().split())
sent_file, acked_file = (os.open(path, os.O_WRONLY | os.O_APPEND) for path in (sent_path, acked_path))
again = [id for id in sent if id not in acked]
next_number = len(sent)
log = EmbeddedLog(folder / "data", SystemClock())

def batch(n):
    global next_number, again
    if again:
        ids, again = again[:n], again[n:]
        return ids
    ids = [f"{next_number + i:08x}-0000-7000-8000-000000000000" for i in range(n)]
    next_number += n
    os.write(sent_file, ("\\n".join(ids) + "\\n").encode())
    return ids

async def work(n):
    while True:
        ids = batch(n)
        await log.append_async([Record(id, "feedback", id.encode() * (1 + n)) for id in ids],
                               max_delay_s=0.004 * (n % 3))
        os.write(acked_file, ("\\n".join(ids) + "\\n").encode())
        os.fsync(acked_file)

async def main():
    await asyncio.gather(*[work(1 + i % 7) for i in range(20)])

asyncio.run(main())
"""


def campaign(folder, kills, seed):
    """Kill the producer `kills` times, sealing beside it and in between; what was acknowledged, and what was sealed."""
    draw, sealed, handed = random.Random(seed), [], {}
    (folder / "acked").touch()
    for _ in range(kills):
        before = (folder / "acked").stat().st_size
        child = subprocess.Popen([sys.executable, "-c", PRODUCER, str(folder)], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while (folder / "acked").stat().st_size <= before:  # until then the orphan is the child's to take over
            assert child.poll() is None, child.stderr.read().decode()[-2000:]
            assert time.monotonic() < deadline, "nothing was acknowledged within a minute"
            time.sleep(0.002)
        end = time.monotonic() + draw.random() * 0.3
        while time.monotonic() < end:  # the sealer is another process than the writer, and works beside it
            seal(folder, draw, sealed, handed, most=draw.randint(1, 5))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stderr.close()
        seal(folder, draw, sealed, handed, most=draw.randint(0, 6))
    seal(folder, draw, sealed, handed, most=None)
    return (folder / "acked").read_text().split(), sealed


def seal(folder, draw, sealed, handed, most):
    log = EmbeddedLog(folder / "data", SystemClock(), write=False)
    while most is None or most > 0:
        segment = log.drain(draw.randint(1, 400))
        if segment is None:
            break
        key = (segment.writer, segment.sequence)
        assert handed.setdefault(key, segment) == segment, "a segment came back as another"
        if most is not None:
            most -= 1
            if most == 0:
                break  # handed out and not released: the same must come back
        log.release(segment)
        sealed.extend(segment.records)
    log.close()


def check(folder, kills, seed):
    acked, sealed = campaign(folder, kills, seed)
    ids = [record.event_id for record in sealed]
    lost, twice = set(acked) - set(ids), len(ids) - len(set(ids))
    print(f"{kills} kills, {len(acked)} acknowledged, {len(ids)} sealed, {len(lost)} lost, {twice} twice")
    assert len(acked) > 20 * kills and not lost and not twice
    assert len(acked) == len(set(acked))
    assert all(record.data[:36] == record.event_id.encode() for record in sealed)
    sent = (folder / "sent").read_text().split()
    assert set(ids) <= set(sent)
    left = {path.suffix for path in (folder / "data" / "inbox").iterdir()}
    assert left <= {".sqlite", ".lock"}, "what a killed process had begun is cleared away"


def test_five_kills(tmp_path):
    check(tmp_path, 5, seed=1)


@pytest.mark.slow
def test_twenty_five_kills(tmp_path):
    check(tmp_path, 25, seed=2)
