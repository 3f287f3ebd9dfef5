"""A closed-loop HTTP client for benchmarks: every connection sends its next request when the last one is answered.

Counts what the server used, not what the client saw alone: `ServerCpu` reads user and system time of its process.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


def request_bytes(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """One POST as it goes over the wire."""
    return (f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {content_type}\r\n"
            f"content-length: {len(body)}\r\n\r\n").encode() + body


@dataclass
class Run:
    """What a run measured."""

    requests: int
    seconds: float
    cpu_s: float
    latencies_ms: list[float]
    failed: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def cpu_us(self) -> float:
        """Server CPU per request, in microseconds."""
        return self.cpu_s / max(self.requests, 1) * 1e6

    def percentile(self, p: float) -> float:
        return statistics.quantiles(self.latencies_ms, n=1000)[int(p * 10) - 1] if len(self.latencies_ms) > 1 else 0.0


def server_cpu_s(pid: int) -> float:
    """User and system seconds that a process (all its threads) has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Connection(asyncio.Protocol):
    def __init__(self, run: Run, make: Callable[[], bytes], until: float, done: asyncio.Future[None]) -> None:
        self._run, self._make, self._until, self._done = run, make, until, done
        self._buffer, self._sent_at = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        if self._sent_at >= self._until:
            self._transport.close()
            return
        self._transport.write(self._make())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, gap, body = self._buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        at = head.lower().index(b"content-length:") + 15
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._buffer = b""
        self._run.requests += 1
        self._run.failed += not head.startswith(b"HTTP/1.1 200")
        self._run.latencies_ms.append((time.perf_counter() - self._sent_at) * 1000)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def _drive(port: int, make: Callable[[], bytes], connections: int, seconds: float, pids: Sequence[int]) -> Run:
    run = Run(0, 0.0, 0.0, [], 0)
    loop = asyncio.get_running_loop()
    done = [loop.create_future() for _ in range(connections)]
    cpu, start = sum(map(server_cpu_s, pids)), time.perf_counter()
    for future in done:
        await loop.create_connection(
            lambda future=future: _Connection(run, make, start + seconds, future), "127.0.0.1", port)
    await asyncio.gather(*done)
    run.seconds, run.cpu_s = time.perf_counter() - start, sum(map(server_cpu_s, pids)) - cpu
    return run


def drive(port: int, make: Callable[[], bytes], *, connections: int, seconds: float, pids: Sequence[int]) -> Run:
    """Load a server on `port`, whose processes are `pids`, with the requests that `make` gives."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_drive(port, make, connections, seconds, pids))
