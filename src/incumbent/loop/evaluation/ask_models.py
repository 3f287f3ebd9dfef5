"""ask_models: put the same requests to champion and candidate, as the gateway would, and ask some of them again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from incumbent.clock import Clock
from incumbent.events.plan import ModelPlan
from incumbent.loop.evaluation.held_out import HeldOut
from incumbent.loop.evaluation.probes import PROBES
from incumbent.metrics.expectation_file import GateConfig
from incumbent.models.both import ask_all
from incumbent.models.guard import Guarded, build
from incumbent.models.recommender import Answer, Ask

_NEVER = 1_000_000_000  # calls before a breaker opens: what fails is counted, not kept from being asked


@dataclass(frozen=True, eq=False)
class Asked:
    """One model's answers to all requests, and of each behavioural check the value per request, NaN where not tried."""

    plan: ModelPlan
    answers: list[Answer]
    probes: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def ask_models(held: HeldOut, plans: Sequence[ModelPlan], gate: GateConfig, clock: Clock) -> list[Asked]:
    """Both models' answers to every request, at most ``gate.concurrency`` requests under way, and the checks named.

    Each request goes to both at once under their deadlines (``gate.deadline_ms``, else their own); a failure is an
    answer with its status. The first request is asked once before, uncounted, so that what a model loads late is not
    in its latency. Circuit breakers stay closed.
    """
    def run() -> list[Asked]:
        return asyncio.run(_ask(held, plans, gate, clock))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(1) as apart:  # a notebook has a loop of its own under way
        return apart.submit(run).result()


async def _ask(held: HeldOut, plans: Sequence[ModelPlan], gate: GateConfig, clock: Clock) -> list[Asked]:
    guards = [build(_patient(plan, gate), clock) for plan in plans]
    try:
        width = min(gate.concurrency, *(plan.concurrency for plan in plans))
        longest_s = max(guard.deadline_s for guard in guards)
        await ask_all(guards, held.asks[0], gate.k, longest_s)
        both = await _in_turn(held.asks, width, lambda ask: ask_all(guards, ask, gate.k, longest_s))
        asked = [Asked(plan, [pair[n] for pair in both]) for n, plan in enumerate(plans)]
        named = {one.metric for one in gate.expect}
        tried = _tried(held.asks, gate.probes)
        for one, guard in zip(asked, guards, strict=True):
            for name, probe in PROBES.items():
                if name in named:
                    one.probes[name] = await probe(held, one.answers, partial(_again, guard, gate), gate, tried)
        return asked
    finally:
        for guard in guards:
            await guard.recommender.close()


def _patient(plan: ModelPlan, gate: GateConfig) -> ModelPlan:
    deadline_ms = plan.deadline_ms if gate.deadline_ms is None else gate.deadline_ms
    return structs.replace(plan, breaker_calls=_NEVER, deadline_ms=deadline_ms)


async def _in_turn(
    asks: Sequence[Ask], width: int, one: Callable[[Ask], Awaitable[list[Answer]]],
) -> list[list[Answer]]:
    places = asyncio.Semaphore(width)

    async def run(ask: Ask) -> list[Answer]:
        async with places:
            return await one(ask)

    return list(await asyncio.gather(*(run(ask) for ask in asks)))


def _tried(asks: Sequence[Ask], most: int) -> list[int]:
    """The requests that are asked again: the first so many by the hash of their ids."""
    order = sorted(range(len(asks)), key=lambda n: blake2b(
        f"{asks[n].request_id}/{asks[n].user_id}".encode(), digest_size=8).digest())
    return sorted(order[:most])


async def _again(guard: Guarded, gate: GateConfig, asks: Sequence[Ask]) -> list[Answer]:
    found = await _in_turn(asks, min(gate.concurrency, guard.concurrency),
                           lambda ask: ask_all([guard], ask, gate.k, guard.deadline_s))
    return [answers[0] for answers in found]
