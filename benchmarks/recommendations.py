"""What serving costs beside a bare handler. Two local models, two lists of 20, a page of 10; the bars to be held to:

- server CPU per request at most 2 times a bare ASGI handler that decodes and answers, with bounded delay, and at most 4
  times where the impression is on disk before the answer;
- p99 added at half load at most 2 ms plus twice the run's own p99 of a disk sync;
- two workers cost at most 1.2 times the CPU per request of one;
- with remote models (HTTP) the gateway's CPU stays under 700 us per request.

The table says of each whether it is met.

    python benchmarks/recommendations.py [--seconds 3] [--rounds 3] [--dir A_REAL_DISK]

Every server is a process of its own; the gateways are started as `incumbent serve --only gateway` starts them, with an
experiment at 50 %. Rounds go over all servers in turn, so that a busy neighbour falls on all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from load import Run, drive, request_bytes

from events import children, free_port, wait_for

MODELS = """
ITEMS = [f"item-{n:05d}" for n in range(4000)]
def ranked(user, k, step):
    return [(ITEMS[user * 3 + n * step], 1.0 / (n + 1)) for n in range(k)]
LISTS = [[ranked(user, 20, step) for user in range(997)] for step in (1, 2)]
async def old(request, k):
    return LISTS[0][len(request.user_id) * 31 % 997]
async def new(request, k):
    return LISTS[1][len(request.user_id) * 31 % 997]
"""
BARE = """
import sys
import msgspec, uvicorn
class Request(msgspec.Struct):
    surface: str
    user_id: str
    k: int
class Item(msgspec.Struct):
    item_id: str
    position: int
class Answer(msgspec.Struct):
    request_id: str
    items: list[Item]
decode, encode = msgspec.json.Decoder(Request).decode, msgspec.json.Encoder().encode
ids = [f"item-{n:05d}" for n in range(20)]
async def app(scope, receive, send):
    if scope["method"] == "POST":
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        request = decode(body)
        items = [Item(item, n) for n, item in enumerate(ids[: request.k], 1)]
        answer = encode(Answer(request.user_id, items))
    else:
        answer = b"{}"
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})
"""
REMOTE = """
import msgspec
ITEMS = [f"item-{n:05d}" for n in range(40)]
ANSWER = [msgspec.json.encode({"items": [{"item_id": ITEMS[at + n], "score": 1.0 / (n + 1)} for n in range(20)]})
          for at in (0, 10)]
async def app(scope, receive, send):
    if scope["method"] == "POST":
        while (await receive()).get("more_body"):
            pass
    answer = ANSWER[scope["path"] == "/new"]
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]})
    await send({"type": "http.response.body", "body": answer})
"""
RUN = """
uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False,
            log_level="error", proxy_headers=False, server_header=False)
"""


def config(folder: Path, port: int, durability: str, workers: int, remote: int | None) -> Path:
    """The configuration of one gateway, in a directory of its own."""
    folder.mkdir()
    (folder / "bench_models.py").write_text(MODELS)
    models = "".join(
        f'[models.{name}]\n' + (f'adapter = "http"\ntarget = "http://127.0.0.1:{remote}/{name}"\n' if remote else
                                f'target = "bench_models:{name}"\nlocal = true\n') for name in ("old", "new"))
    path = folder / "incumbent.toml"
    path.write_text(f"""[service]
port = {port}
workers = {workers}
log_level = "error"
[stores]
directory = "{folder / "data"}"
durability = "{durability}"
{models}
[surfaces.home]
champion = "old"
depth = 20
deadline_ms = 1000
[experiments.bench]
surface = "home"
candidate = "new"
holdout = 0.0
stages = [{{stage = "ramp_50", share = 0.5}}]
guardrails = []
""")
    return path


def start_gateway(path: Path) -> subprocess.Popen[bytes]:
    """`incumbent serve --only gateway`, its experiment started before."""
    incumbent = [sys.executable, "-m", "incumbent"]
    subprocess.run([*incumbent, "experiment", "start", "bench", "--reason", "benchmark", "--config", str(path)],
                   check=True, stdout=subprocess.DEVNULL)
    return subprocess.Popen([*incumbent, "serve", "--config", str(path), "--only", "gateway"],
                            stdout=subprocess.DEVNULL)


def maker() -> Callable[[], bytes]:
    """Requests of 50,000 users, two of the same user far apart."""
    bodies = [request_bytes("/v1/recommendations", json.dumps(
        {"surface": "home", "user_id": "u" * (n % 40) + f"user-{n}", "k": 10}).encode()) for n in range(50_000)]
    return itertools.cycle(bodies).__next__


async def _paced(port: int, make: Callable[[], bytes], rate: float, seconds: float, connections: int) -> list[float]:
    """Latencies in ms at an open-loop rate, from the moment at which each request was due."""
    latencies: list[float] = []
    start = time.perf_counter() + 0.2

    async def one(lane: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for n in itertools.count():
            due = start + (n * connections + lane) / rate
            if due > start + seconds:
                break
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            writer.write(make())
            head = await reader.readuntil(b"\r\n\r\n")
            at = head.lower().index(b"content-length:") + 15
            await reader.readexactly(int(head[at:].split(b"\r\n", 1)[0]))
            latencies.append((time.perf_counter() - due) * 1000)
        writer.close()
    await asyncio.gather(*map(one, range(connections)))
    return latencies


def paced(port: int, rate: float, seconds: float) -> list[float]:
    """Latencies in ms at `rate` requests a second on 16 connections."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_paced(port, maker(), rate, seconds, 16))


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def sync_ms(folder: Path, n: int = 200) -> list[float]:
    """How long this disk takes to sync a small write, as the run finds it."""
    out = []
    with (folder / "sync.probe").open("wb", buffering=0) as file:
        for _ in range(n):
            started = time.perf_counter()
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())
            out.append((time.perf_counter() - started) * 1000)
    return out


@contextmanager
def servers(folder: Path) -> Iterator[tuple[dict[str, int], dict[str, list[int]]]]:
    """All servers, as ports and process ids by name."""
    ports = {name: free_port() for name in ("bare", "bounded", "durable", "two workers", "remote models", "models")}
    shape = {"bounded": ("bounded", 1, None), "durable": ("before_answer", 1, None),
             "two workers": ("bounded", 2, None), "remote models": ("bounded", 1, ports["models"])}
    running = {"bare": subprocess.Popen([sys.executable, "-c", BARE + RUN, str(ports["bare"])]),
               "models": subprocess.Popen([sys.executable, "-c", "import sys, uvicorn" + REMOTE + RUN,
                                           str(ports["models"])])}
    try:
        for name, (durability, workers, remote) in shape.items():
            place = folder / name.replace(" ", "-")
            running[name] = start_gateway(config(place, ports[name], durability, workers, remote))
        for port in ports.values():
            wait_for(port)
        time.sleep(1.0)
        yield ports, {name: children(process.pid) for name, process in running.items()}
    finally:
        for process in running.values():
            process.send_signal(signal.SIGTERM)
        for process in running.values():
            process.wait(30)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--dir", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="bench-serve-") as name, servers(Path(name)) as running:
        ports, pids = running
        timed = [server for server in ports if server != "models"]
        runs: dict[str, list[Run]] = {server: [] for server in timed}
        for round_ in range(options.rounds + 1):
            for server in timed:
                run = drive(ports[server], maker(), connections=options.connections,
                            seconds=options.seconds if round_ else 1.0, pids=pids[server])
                if round_:  # the first warms up
                    runs[server].append(run)
        half = {server: statistics.median(run.rate for run in runs[server]) / 2 for server in timed}
        syncs = sync_ms(Path(name))
        tail = {server: ([p99(paced(ports[server], half[server], options.seconds)) for _ in range(options.rounds)],
                         [p99(paced(ports["bare"], half[server], options.seconds)) for _ in range(options.rounds)])
                for server in ("bounded", "durable")}
        syncs += sync_ms(Path(name))
    report(runs, half, tail, syncs)


def report(
    runs: dict[str, list[Run]], half: dict[str, float], tail: dict[str, tuple[list[float], list[float]]],
    syncs: list[float],
) -> None:
    """Ratios first."""
    cpu = {server: statistics.median(run.cpu_us for run in found) for server, found in runs.items()}
    print(f"load {os.getloadavg()[0]:.1f} at the end; medians over rounds; a disk sync takes "
          f"{statistics.median(syncs):.2f} ms, p99 {p99(syncs):.2f} ms")
    print(f"{'server':<14}{'CPU / bare':>11}{'of the bar':>12}{'':>5}{'CPU us/req':>12}{'req/s':>8}"
          f"{'p50 ms':>8}{'p99 ms':>8}{'failed':>8}")
    bars = {"bounded": 2 * cpu["bare"], "durable": 4 * cpu["bare"], "two workers": 1.2 * cpu["bounded"],
            "remote models": 700.0}
    for server, found in runs.items():
        part = cpu[server] / bars.get(server, cpu[server])
        print(f"{server:<14}{cpu[server] / cpu['bare']:>10.2f}x{part:>11.2f}x{'met' if part <= 1 else 'over':>5}"
              f"{cpu[server]:>12.1f}"
              f"{statistics.median(run.rate for run in found):>8.0f}"
              f"{statistics.median(run.percentile(50) for run in found):>8.2f}"
              f"{statistics.median(run.percentile(99) for run in found):>8.2f}{sum(run.failed for run in found):>8}")
    print(f"two workers / one: {cpu['two workers'] / cpu['bounded']:.2f}x CPU per request (bar 1.2x)")
    for server, (ours, bare) in tail.items():
        added, bar = statistics.median(ours) - statistics.median(bare), 2 + 2 * p99(syncs)
        print(f"{server} at half load ({half[server]:.0f} req/s): p99 {statistics.median(ours):.2f} ms, bare "
              f"{statistics.median(bare):.2f} ms, added {added:.2f} ms ({added / bar:.2f}x of the bar)")


if __name__ == "__main__":
    main()
