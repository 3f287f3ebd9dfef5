"""probes: behavioural checks of a release gate: what a model answers when it is asked again, a little differently."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from incumbent.loop.evaluation.held_out import HeldOut
from incumbent.metrics.expectation_file import GateConfig
from incumbent.models.recommender import Answer, Ask

PUT_OUT = 3  # items of the model's own list that the check of exclusions excludes
IGNORED = 1_000  # past interactions, the newest, that the check of ignored ones names
Again = Callable[[Sequence[Ask]], Awaitable[list[Answer]]]
Values = NDArray[np.float64]  # per request, NaN where it was not tried


async def _determinism(held: HeldOut, answers: list[Answer], again: Again, gate: GateConfig,
                       tried: list[int]) -> Values:
    """1 where the second answer has the items of the first, in their order."""
    found = await again([held.asks[n] for n in tried])
    return _filled(len(answers), {n: float(second.status == "ok" and second.items == answers[n].items)
                                  for n, second in zip(tried, found, strict=True) if answers[n].status == "ok"})


async def _cold_start(held: HeldOut, answers: list[Answer], again: Again, gate: GateConfig,
                      tried: list[int]) -> Values:
    """1 where a shopper whom nobody knows, in the same context without a history, gets a full list."""
    found = await again([_nobody(held.asks[n], gate) for n in tried])
    return _filled(len(answers), {n: float(one.status == "ok" and len(set(one.items)) >= gate.k)
                                  for n, one in zip(tried, found, strict=True)})


async def _exclusions(held: HeldOut, answers: list[Answer], again: Again, gate: GateConfig,
                      tried: list[int]) -> Values:
    """1 where the first items of the model's own list, excluded, do not come again."""
    able = [n for n in tried if answers[n].items]
    asks = [structs.replace(held.asks[n], exclude=tuple(sorted({*held.asks[n].exclude, *answers[n].items[:PUT_OUT]})))
            for n in able]
    found = await again(asks)
    return _filled(len(answers), {n: float(one.status == "ok" and not set(one.items) & set(ask.exclude))
                                  for n, ask, one in zip(able, asks, found, strict=True)})


async def _excluded_categories(held: HeldOut, answers: list[Answer], again: Again, gate: GateConfig,
                               tried: list[int]) -> Values:
    """1 where, with the category of the list's first item excluded, none of that category comes; by the catalogue."""
    of = _categories(held)
    first = {n: next((of[item] for item in answers[n].items if of.get(item) is not None), None) for n in tried}
    able = [n for n in tried if first[n] is not None]
    asks = [structs.replace(held.asks[n], exclude_categories=tuple(sorted(
        {*held.asks[n].exclude_categories, str(first[n])}))) for n in able]
    found = await again(asks)
    return _filled(len(answers), {
        n: float(one.status == "ok" and not {of.get(item) for item in one.items} & set(ask.exclude_categories))
        for n, ask, one in zip(able, asks, found, strict=True)})


async def _ignored_events(held: HeldOut, answers: list[Answer], again: Again, gate: GateConfig,
                          tried: list[int]) -> Values:
    """The part of the list of a shopper whom nobody knows that comes when all past interactions are to be ignored.

    ``|A & B| / |B|``: A with the ids of the shopper's own interactions in `ignore_events`, B of the unknown shopper, both
    without ``context[history_key]``. Tried where the data know such ids, and where B is a list.
    """  # noqa: E501
    able = [n for n in tried if n < len(held.events) and held.events[n]]
    asks = [structs.replace(_bare(held.asks[n], gate), ignore_events=tuple(sorted(
        {*held.asks[n].ignore_events, *held.events[n][-IGNORED:]}))) for n in able]
    unknown = await again([_nobody(held.asks[n], gate) for n in able])
    found = await again(asks)
    return _filled(len(answers), {n: len(set(one.items) & set(other.items)) / len(set(other.items))
                                  for n, one, other in zip(able, found, unknown, strict=True)
                                  if other.status == "ok" and other.items})


async def _perturbed(held: HeldOut, answers: list[Answer], again: Again, gate: GateConfig,
                     tried: list[int]) -> Values:
    """The part of the list that stays when the newest item (the first) of ``context[history_key]`` goes."""
    asks, able = [], []
    for n in tried:
        history = str(held.asks[n].context.get(gate.history_key or "") or "").split(",")
        if gate.history_key and len(history) > 1 and answers[n].items:
            able.append(n)
            asks.append(structs.replace(held.asks[n], context={**held.asks[n].context,
                                                               gate.history_key: ",".join(history[1:])}))
    found = await again(asks)
    return _filled(len(answers), {n: len(set(answers[n].items) & set(one.items)) / len(set(answers[n].items))
                                  for n, one in zip(able, found, strict=True)})


def _bare(ask: Ask, gate: GateConfig) -> Ask:
    return structs.replace(ask, context={key: value for key, value in ask.context.items() if key != gate.history_key})


def _nobody(ask: Ask, gate: GateConfig) -> Ask:
    """The same request of a shopper whom nobody knows."""
    name = blake2b(ask.user_id.encode(), digest_size=6).hexdigest()
    return structs.replace(_bare(ask, gate), user_id=f"nobody-{name}", session_id=None, ignore_events=())


def _categories(held: HeldOut) -> dict[str, str | None]:
    table = held.side.catalogue
    if table is None or "category" not in table.column_names:
        return {}
    return dict(zip(table["item_id"].to_pylist(), table["category"].to_pylist(), strict=True))


def _filled(size: int, found: dict[int, float]) -> Values:
    values = np.full(size, np.nan)
    values[list(found)] = list(found.values())
    return values


Probe = Callable[[HeldOut, list[Answer], Again, GateConfig, list[int]], Awaitable[Values]]
PROBES: dict[str, Probe] = {
    "behaviour.determinism": _determinism, "behaviour.cold_start": _cold_start, "behaviour.exclusions": _exclusions,
    "behaviour.excluded_categories": _excluded_categories, "behaviour.ignored_events": _ignored_events,
    "behaviour.perturbed_history": _perturbed,
}
