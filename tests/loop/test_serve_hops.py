"""One request makes four hops and no more: service -> loop -> models, policy, log."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from incumbent.service.recommendations import Recommendations
from incumbent.testing.gateway import Shop

#: modules that only give words, numbers, bytes and what is awaited to whoever asks: no hop
GROUND = ("errors", "clock", "config", "registry", "eager", "events", "testing")
BODY = b'{"surface": "home", "user_id": "u42", "k": 4}'


def place(frame: FrameType | None) -> str | None:
    """Where a frame is, as package and (in experiments) module; None outside incumbent and on the ground."""
    name = frame.f_globals.get("__name__", "") if frame else ""
    parts = name.split(".")
    if parts[0] != "incumbent" or len(parts) < 2 or parts[1] in GROUND:
        return None
    return parts[1]


@contextmanager
def walked() -> Iterator[list[tuple[str, str, str]]]:
    """The calls that cross from one package to another: (from, to, function)."""
    hops: list[tuple[str, str, str]] = []

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        here, caller = place(frame), frame.f_back
        while caller is not None and place(caller) is None:
            caller = caller.f_back
        there = place(caller)
        if here and there and here != there:
            hops.append((there, here, frame.f_code.co_name))
    sys.setprofile(watch)
    try:
        yield hops
    finally:
        sys.setprofile(None)


def test_four_hops() -> None:
    shop = Shop(old=[f"a{n}" for n in range(8)], new=[f"b{n}" for n in range(8)], model={"local": True})
    handler = Recommendations(shop.gateway)

    async def one() -> list[tuple[str, str, str]]:
        with walked() as hops:
            await handler.handle(BODY, "application/json")
        return hops
    hops = asyncio.run(one())
    assert shop.impressions()[-1].mode == "interleave"
    between = list(dict.fromkeys((source, target) for source, target, _ in hops))
    assert between == [("service", "loop"), ("loop", "experiments"), ("loop", "models"), ("loop", "stores")]
    entered = [(target, name) for _, target, name in hops]
    assert entered.count(("loop", "recommend")) == 1
    assert entered.count(("models", "ask_all")) == 1
    assert entered.count(("experiments", "choose")) == 1
    assert entered.count(("stores", "post")) == 1


def test_a_gateway_loads_none_of_the_heavy_half() -> None:
    code = ("import sys, incumbent.service.recommendations, incumbent.experiments.pair_draft; "
            "print([name for name in ('numpy', 'scipy', 'pyarrow', 'deltalake', 'duckdb') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
