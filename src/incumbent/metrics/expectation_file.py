"""gate.toml: the expectations of a release, validated whole; every mistake at once, with the nearest known name."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from incumbent.config import mistakes
from incumbent.errors import ConfigError, DataError
from incumbent.metrics.expectation import Compare, Expectation, Holds
from incumbent.metrics.measures import resolve

Action = Literal["view", "click", "add_to_cart", "purchase"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ExpectConfig(_Part):
    """One ``[[expect]]``."""

    metric: str  # ndcg_achievable@10, novelty@10, empty_share, latency_p95, behaviour.determinism ...
    compare: Compare = "value"  # the candidate's own number, its difference to the champion's, or the relative one
    at_least: float | None = None  # the lower bound
    at_most: float | None = None  # the upper bound
    holds: Holds | None = None  # for the whole interval, where there is one, or for the point
    slice: dict[str, str] = {}  # context key -> value of the requests; "*" = each value by itself
    missing: Literal["fail", "pass"] = "fail"  # what becomes of it where there is no number
    name: str = ""  # shown instead of the metric


class RunConfig(_Part):
    """``[run]``: what is evaluated, where the command line or pytest is not told; paths are relative to the file."""

    candidate: str | None = None  # a configured model, or module:function
    champion: str | None = None  # so; the surface's own champion
    data: str | None = None  # a period (2026-03-01..2026-03-07), or a file of interactions
    history: str | None = None  # a file of earlier interactions
    catalogue: str | None = None  # a file of items
    config: str | None = None  # incumbent.toml
    surface: str | None = None  # of a period


class GateConfig(_Part):
    """A whole gate.toml."""

    name: Annotated[str, Field(min_length=1, max_length=64)] = "release"  # what the gate is called in reports
    k: Annotated[int, Field(ge=1, le=1_000)] = 10  # items asked of each model
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05  # of the intervals, two-sided
    least_users: Annotated[int, Field(ge=1)] = 20  # a slice of fewer is not judged
    relevant: tuple[Action, ...] = ("click", "add_to_cart", "purchase")  # a hit
    horizon_days: Annotated[float, Field(gt=0, le=90)] = 7.0  # after the request in which they count
    history_days: Annotated[int, Field(ge=1)] = 90  # before the period: history and popularity
    requests: Annotated[int, Field(ge=1)] = 5_000  # of the period, whole users by their hash
    probes: Annotated[int, Field(ge=0)] = 100  # requests that behavioural checks ask again
    concurrency: Annotated[int, Field(ge=1, le=1_000)] = 4  # requests under way at once
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] | None = None  # of both models; not set: each model's own
    history_key: str | None = None  # the context key that holds the shopper's newest items, joined by commas
    seed: int = 1  # of the bootstrap
    run: RunConfig = RunConfig()
    expect: tuple[ExpectConfig, ...] = ()  # [[expect]] ..., one or more

    def expectations(self) -> list[Expectation]:
        """What is expected, in the order of the file."""
        return [Expectation(one.metric, one.compare, one.at_least, one.at_most, one.holds or holds_of(one),
                            tuple(sorted(one.slice.items())), one.missing, one.name) for one in self.expect]


def holds_of(one: ExpectConfig) -> Holds:
    """What a bound is held against where the file does not say: the interval, where one can lie within the bounds."""
    return "point" if resolve(one.metric).kind == "whole" or _at_the_end(one) else "interval"


def _at_the_end(one: ExpectConfig) -> bool:
    """A share of none or all: no interval lies within such a bound."""
    ends = (one.at_most is not None and one.at_most <= 0) or (one.at_least is not None and one.at_least >= 1)
    return ends and one.compare == "value" and resolve(one.metric).bounded


def read_gate(path: str | Path) -> GateConfig:
    """The gate of a file; `ConfigError` with every mistake where there is any."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError("gate file cannot be read", got=str(file), hint=str(error.strerror)) from None
    except UnicodeDecodeError as error:
        raise ConfigError("gate file is not TOML", got=str(file), hint=str(error)) from None
    return parse_gate(text, str(file))


def parse_gate(text: str, what: str = "gate.toml") -> GateConfig:
    """The gate of a text.

    >>> parse_gate('[[expect]]\\nmetric = "ndgc_full@10"\\nat_leest = 0.1')
    Traceback (most recent call last):
    ...
    incumbent.errors.ConfigError: gate.toml has 3 mistakes.
      - expect.0.at_leest: unknown key. Hint: did you mean 'at_least'?
      - expect.0.metric: no such metric of a release gate. Got 'ndgc_full@10'. Hint: did you mean 'ndcg_full@10'?
      - expect.0: no bound. Expected at_least, at_most, or both.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("gate file is not TOML", got=what, hint=str(error)) from None
    made, found = mistakes.collect(tree, GateConfig.model_validate, GateConfig)
    lines = list(found.values())
    given = tree.get("expect")
    whole = made if isinstance(given, list) and made is not None and len(given) == len(made.expect) else None
    for n, one in enumerate(whole.expect if whole is not None else ()):
        if not mistakes.under(f"expect.{n}.metric", found):
            lines += [f"expect.{n}{line}" for line in _problems(one, made.k)]
    if made is not None and not made.expect and not mistakes.under("expect", found):
        lines.append('expect: nothing is expected. Expected one [[expect]] or more.')
    if made is not None and not made.relevant and not mistakes.under("relevant", found):
        lines.append("relevant: no action is a hit. Expected one or more.")
    if lines:
        count = f"{len(lines)} mistake{'' if len(lines) == 1 else 's'}"
        raise ConfigError(f"{what} has {count}", problems=tuple(lines))
    assert isinstance(made, GateConfig)
    return made


def _problems(one: ExpectConfig, k: int) -> list[str]:
    lines: list[str] = []
    cut = one.metric.rpartition("@")[2]
    if "@" in one.metric and cut.isdecimal() and int(cut) > k:
        lines.append(f".metric: looks further than the lists are long. Got {one.metric}. Expected at most k = {k}.")
    try:
        kind: Any = resolve(one.metric).kind
    except DataError as error:
        kind = None
        lines.append(f".metric: {error}")
    if one.at_least is None and one.at_most is None:
        lines.append(": no bound. Expected at_least, at_most, or both.")
    elif one.at_least is not None and one.at_most is not None and one.at_least > one.at_most:
        lines.append(f": at_least is above at_most. Got {one.at_least:g} and {one.at_most:g}.")
    if kind == "whole" and one.holds == "interval":
        lines.append(f".holds: {one.metric} is a number of all lists together and has no interval. Expected point.")
    elif kind is not None and one.holds == "interval" and _at_the_end(one):
        lines.append(f".holds: no interval of a share lies within none or all. Got {one.metric}. Expected point.")
    if kind in ("whole", "probe") and one.slice:
        lines.append(f".slice: {one.metric} is not measured by slice. Expected none.")
    return lines
