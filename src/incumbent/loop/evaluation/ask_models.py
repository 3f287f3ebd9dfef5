"""ask_models: put the same requests to champion and candidate, as the gateway would, and ask some of them again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from incumbent.clock import Clock
from incumbent.events.plan import ModelPlan
from incumbent.loop.evaluation.held_out import HeldOut
from incumbent.metrics.expectation_file import GateConfig
from incumbent.models.both import ask_all
from incumbent.models.guard import Guarded, build
from incumbent.models.recommender import Answer, Ask

PUT_OUT = 3  # items of the model's own list that the check of exclusions excludes
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
            for name, probe in _PROBES.items():
                if name in named:
                    one.probes[name] = await probe(held, one.answers, guard, gate, tried)
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


async def _again(guard: Guarded, asks: Sequence[Ask], gate: GateConfig) -> list[Answer]:
    found = await _in_turn(asks, min(gate.concurrency, guard.concurrency),
                           lambda ask: ask_all([guard], ask, gate.k, guard.deadline_s))
    return [answers[0] for answers in found]


async def _determinism(held: HeldOut, answers: list[Answer], guard: Guarded, gate: GateConfig,
                       tried: list[int]) -> NDArray[np.float64]:
    """1 where the second answer has the items of the first, in their order."""
    again = await _again(guard, [held.asks[n] for n in tried], gate)
    return _filled(len(answers), {n: float(second.status == "ok" and second.items == answers[n].items)
                                  for n, second in zip(tried, again, strict=True) if answers[n].status == "ok"})


async def _cold_start(held: HeldOut, answers: list[Answer], guard: Guarded, gate: GateConfig,
                      tried: list[int]) -> NDArray[np.float64]:
    """1 where a shopper whom nobody knows, in the same context without a history, gets a full list."""
    asks = []
    for n in tried:
        ask = held.asks[n]
        context = {key: value for key, value in ask.context.items() if key != gate.history_key}
        asks.append(structs.replace(ask, user_id=f"nobody-{blake2b(ask.user_id.encode(), digest_size=6).hexdigest()}",
                                    context=context, session_id=None))
    found = await _again(guard, asks, gate)
    return _filled(len(answers), {n: float(one.status == "ok" and len(set(one.items)) >= gate.k)
                                  for n, one in zip(tried, found, strict=True)})


async def _exclusions(held: HeldOut, answers: list[Answer], guard: Guarded, gate: GateConfig,
                      tried: list[int]) -> NDArray[np.float64]:
    """1 where the first items of the model's own list, excluded, do not come again."""
    able = [n for n in tried if answers[n].items]
    asks = [structs.replace(held.asks[n], exclude=tuple(sorted({*held.asks[n].exclude, *answers[n].items[:PUT_OUT]})))
            for n in able]
    found = await _again(guard, asks, gate)
    return _filled(len(answers), {n: float(one.status == "ok" and not set(one.items) & set(ask.exclude))
                                  for n, ask, one in zip(able, asks, found, strict=True)})


async def _perturbed(held: HeldOut, answers: list[Answer], guard: Guarded, gate: GateConfig,
                     tried: list[int]) -> NDArray[np.float64]:
    """The part of the list that stays when the newest item (the first) of ``context[history_key]`` goes."""
    asks, able = [], []
    for n in tried:
        history = str(held.asks[n].context.get(gate.history_key or "") or "").split(",")
        if gate.history_key and len(history) > 1 and answers[n].items:
            able.append(n)
            asks.append(structs.replace(held.asks[n], context={**held.asks[n].context,
                                                               gate.history_key: ",".join(history[1:])}))
    found = await _again(guard, asks, gate)
    return _filled(len(answers), {n: len(set(answers[n].items) & set(one.items)) / len(set(answers[n].items))
                                  for n, one in zip(able, found, strict=True)})


def _filled(size: int, found: dict[int, float]) -> NDArray[np.float64]:
    values = np.full(size, np.nan)
    values[list(found)] = list(found.values())
    return values


_Probe = Callable[[HeldOut, list[Answer], Guarded, GateConfig, list[int]], Awaitable[NDArray[np.float64]]]
_PROBES: dict[str, _Probe] = {
    "behaviour.determinism": _determinism, "behaviour.cold_start": _cold_start, "behaviour.exclusions": _exclusions,
    "behaviour.perturbed_history": _perturbed,
}
