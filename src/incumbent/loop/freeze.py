"""freeze: what an experiment must know before its first request, written into its definition when it starts.

A guardrail on slow answers compares with the champion's own quantile. Taken from the data that it judges it would move
with them; so it is read once, from the champion's answers of the week before, and stands in the frozen definition.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from incumbent.config import Config
from incumbent.errors import ConflictError
from incumbent.events.window import Window
from incumbent.loop import keys
from incumbent.loop.rollup import total
from incumbent.stats.log_histogram import LogHistogram
from incumbent.stores.store import Control

#: how far back the champion's answers are read, and how many of them a quantile needs
DAYS = 7
MIN_ANSWERS = 1_000
QUANTILES = {"latency_p95": 0.95, "latency_p99": 0.99}


def freeze(control: Control, config: Config, name: str, definition: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The definition with a `slow_ms` on every guardrail that needs one: the configured, else the champion's quantile.

    `ConflictError` where the champion has answered fewer than 1,000 requests of the surface in the last seven days.
    """
    guardrails = [dict(part) for part in definition["guardrails"]]
    for part in guardrails:
        q = QUANTILES.get(part["metric"])
        if q is not None and part["slow_ms"] is None:
            part["slow_ms"] = _quantile(control, config, name, part["metric"], q, now)
    return {**definition, "guardrails": guardrails}


def _quantile(control: Control, config: Config, name: str, metric: str, q: float, now: datetime) -> float:
    surface = config.experiments[name].surface
    key = keys.of_model("latency_ms", surface, config.surfaces[surface].champion, "champion")
    period = Window(now - timedelta(days=DAYS), now + timedelta(microseconds=1))
    seen = total(control, LogHistogram, key, period)
    answers = 0 if seen is None else seen.total
    bar = seen.quantile(q).value if seen is not None and answers >= MIN_ANSWERS else None
    if bar is None or bar <= 0:
        raise ConflictError(f"guardrail {metric} of {name!r} needs to know what is slow for the champion", got=answers,
                            expected=f"at least {MIN_ANSWERS} answers in the last {DAYS} days",
                            hint="set slow_ms on the guardrail, or start when the champion has served for a while")
    return float(bar)
