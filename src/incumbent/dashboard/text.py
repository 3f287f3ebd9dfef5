"""Numbers and times as a person reads them: with unit, n and interval, or the reason why they are missing."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

MISSING = "–"


def number(value: float | None, unit: str = "") -> str:
    """A value at the precision that its unit deserves.

    >>> number(0.01234, "of requests"), number(12.345, "ms"), number(1234567.0, "requests"), number(None)
    ('1.23 %', '12.3 ms', '1,234,567', '–')
    >>> number(0.0625, "net preference"), number(-3.25, "USD minor units/user-day")
    ('+6.25 %', '-3.25')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if _is_share(unit):
        sign = "+" if unit.startswith("net preference") else ""
        return f"{value * 100:{sign}.2f} %"
    if unit == "ms":
        return f"{value:.1f} ms" if abs(value) >= 1 else f"{value:.2g} ms"
    if value == int(value) and abs(value) >= 1:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def interval(low: float | None, high: float | None, unit: str = "") -> str:
    """An interval; a missing end is unbounded.

    >>> interval(0.01, 0.02, "of requests"), interval(None, 0.5, "x"), interval(None, None)
    ('1.00 % to 2.00 %', '… to 0.5', '')
    """
    if low is None and high is None:
        return ""
    return f"{'…' if low is None else number(low, unit)} to {'…' if high is None else number(high, unit)}"


def count_of(n: int, noun: str) -> str:
    """So many of something.

    >>> count_of(1, "message"), count_of(1234, "message")
    ('1 message', '1,234 messages')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _is_share(unit: str) -> bool:
    return unit.startswith(("of ", "net preference", "share")) or unit == "relative"


def moment(value: Any) -> str:
    """A time in UTC, to the minute.

    >>> moment("2017-07-01T08:30:59+00:00")
    '2017-07-01 08:30'
    """
    if value is None:
        return MISSING
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def ago(value: Any, now: datetime) -> str:
    """How long ago, in the largest unit that fits.

    >>> ago("2026-01-01T00:00:00+00:00", datetime(2026, 1, 3, tzinfo=UTC))
    '2 days ago'
    """
    if value is None:
        return "never"
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    seconds = (now - at).total_seconds()
    if seconds < 0:
        return "in the future"
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return f"{int(seconds)} s ago"


#: what a person calls the stages and verdicts
STAGES = {"shadow": "shadow", "canary": "canary", "ramp_5": "5 %", "ramp_10": "10 %", "ramp_25": "25 %",
          "ramp_50": "50 %", "promoted": "promoted", "ended": "ended"}
VERDICTS = {"promote": "PROMOTE", "discard": "DISCARD", "roll_back": "ROLL BACK", "inconclusive": "INCONCLUSIVE",
            "hold": "HOLD", "advance": "ADVANCE", "start": "START"}
#: what the colour of a verdict says
TONES = {"promote": "good", "discard": "bad", "roll_back": "bad", "inconclusive": "warn", "hold": "calm",
         "advance": "good", "start": "calm", "ok": "good", "harm": "bad", "breach": "bad", "void": "bad",
         "unclear": "warn", "missing": "warn", "no_data": "warn", "drift": "warn", "invalid": "bad"}


def stage(name: str | None) -> str:
    """A stage as a person calls it."""
    return "not started" if name is None else STAGES.get(name, name)


def verdict(name: str | None) -> str:
    """A verdict as a person calls it."""
    return "no verdict yet" if name is None else VERDICTS.get(name, name.upper())


def tone(name: str | None) -> str:
    """The class of the colour of a verdict or status."""
    return TONES.get(name or "", "calm")
