"""Claim: the collector takes 30,000 events a second a core in batches of 50, acknowledged durable; 4,000 single ones.

    python benchmarks/events.py [--seconds 3] [--rounds 3]

Both servers run in one process each and are loaded in turn, in one run: the collector as `incumbent serve --only
collector` starts it, on the directory given by --dir (a real disk: every answer waits for a sync), and beside it a bare
ASGI handler on the same uvicorn that decodes the same body and answers. `a core` is events per second of server CPU.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from load import Run, drive, request_bytes

from incumbent.clock import SystemClock
from incumbent.events.ids import EventIds

BARE = """
import asyncio, os, socket, sys
import msgspec, uvicorn
decode = msgspec.json.decode
async def app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer = msgspec.json.encode({"accepted": len(decode(body)) if body else 0})
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})
uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="none", lifespan="off",
            access_log=False, log_level="error", proxy_headers=False, server_header=False)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, seconds: float = 120.0) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            return
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
    raise SystemExit(f"nothing answers on port {port}")


def children(pid: int) -> list[int]:
    """The process and its children."""
    found = [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def maker(batch: int) -> Callable[[], bytes]:
    """Fresh events at each call, with time-ordered ids, as producers send them."""
    clock = SystemClock()
    ids, number = EventIds(clock), itertools.count()
    now = clock.now().isoformat()
    head = '{"type":"feedback","time":"' + now + '","action":"click","session_id":"s-1","event_id":"'

    def make() -> bytes:
        events = []
        for _ in range(batch):
            n = next(number)
            events.append(f'{head}{ids.new()}","user_id":"user-{n % 50_000}","item_id":"item-{n % 9_999}"}}')
        return request_bytes("/v1/events", ("[" + ",".join(events) + "]").encode())

    return make


def start_bare(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BARE, str(port)])


def start_collector(port: int, folder: Path) -> subprocess.Popen[bytes]:
    config = folder / "incumbent.toml"
    config.write_text(f'[service]\nport = {port}\nlog_level = "warning"\n[stores]\ndirectory = "{folder / "data"}"\n')
    return subprocess.Popen([sys.executable, "-m", "incumbent", "serve", "--config", str(config), "--only",
                             "collector"], stdout=subprocess.DEVNULL)


def line(name: str, batch: int, connections: int, runs: list[Run]) -> dict[str, float | str | int]:
    rate = statistics.median(run.rate * batch for run in runs)
    cpu = statistics.median(run.cpu_us for run in runs)
    return {"server": name, "batch": batch, "connections": connections, "events_per_s": round(rate),
            "events_per_cpu_s": round(batch * 1e6 / cpu), "cpu_us_per_request": round(cpu, 1),
            "p50_ms": round(statistics.median(run.percentile(50) for run in runs), 2),
            "p99_ms": round(statistics.median(run.percentile(99) for run in runs), 2),
            "failed": sum(run.failed for run in runs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="bench-events-") as folder:
        ports = {"bare ASGI": free_port(), "collector": free_port()}
        servers = {"bare ASGI": start_bare(ports["bare ASGI"]),
                   "collector": start_collector(ports["collector"], Path(folder))}
        try:
            for port in ports.values():
                wait_for(port)
            pids = {name: children(server.pid) for name, server in servers.items()}
            rows = []
            for batch, connections in ((1, 4), (1, 32), (50, 4), (50, 32)):
                runs: dict[str, list[Run]] = {name: [] for name in servers}
                for _ in range(options.rounds):
                    for name in servers:
                        runs[name].append(drive(ports[name], maker(batch), connections=connections,
                                                seconds=options.seconds, pids=pids[name]))
                rows += [line(name, batch, connections, runs[name]) for name in servers]
        finally:
            for server in servers.values():
                server.send_signal(signal.SIGTERM)
                server.wait(30)
    print(f"load {os.getloadavg()[0]:.1f} at the end; medians of {options.rounds} rounds of {options.seconds:g} s")
    print(f"{'server':<11}{'batch':>6}{'conns':>6}{'events/s':>10}{'events/CPU s':>14}{'CPU us/req':>12}{'ratio':>7}"
          f"{'p50 ms':>8}{'p99 ms':>8}{'failed':>8}")
    for bare, ours in zip(rows[::2], rows[1::2], strict=True):
        for row in (bare, ours):
            ratio = float(row["cpu_us_per_request"]) / float(bare["cpu_us_per_request"])
            print(f"{row['server']:<11}{row['batch']:>6}{row['connections']:>6}{row['events_per_s']:>10}"
                  f"{row['events_per_cpu_s']:>14}{row['cpu_us_per_request']:>12}{ratio:>7.2f}"
                  f"{row['p50_ms']:>8}{row['p99_ms']:>8}{row['failed']:>8}")
    single, batched = rows[3], rows[7]
    print(json.dumps({"single_per_core": single["events_per_cpu_s"], "batched_per_core": batched["events_per_cpu_s"],
                      "bars": {"single_per_core": 4_000, "batched_per_core": 30_000}}))


if __name__ == "__main__":
    main()
