"""The ledger of drift: how far every group of judges has come, and how each of them stands. One cursor of Control.

A standing changes by one window's result at a time (`after`), and only a change is news: an alarm opens an incident, so
many ordinary windows in a row close it, and missing or broken data is told when it begins and when it ends.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from incumbent.drift.detector import Result
from incumbent.stores.store import Control

CURSOR = "drift/ledger"
RECENT = 60  # windows whose results a standing shows
AGAIN_DATA = "data again"  # how a reason begins that says so
ORDINARY = 0.1  # a window's rank among the baseline's from which on it is ordinary

Word = Literal["ok", "drift", "invalid", "no_data"]


class Seen(Struct, frozen=True, omit_defaults=True):
    """One window's result, briefly."""

    start: datetime
    status: str
    p_value: float | None = None
    e_value: float | None = None
    score: float | None = None
    statistic: str | None = None
    n: int = 0


class Standing(Struct, frozen=True, omit_defaults=True):
    """How one judge stands; `open` is the event id of the finding that opened the incident, where one is open."""

    status: str = "waiting"  # ok, drift, invalid, no_data, refused, excluded, waiting
    severity: str = "info"
    reason: str = "no window was judged yet"
    since: datetime | None = None
    open: str | None = None
    calm: int = 0  # ordinary windows in a row while it is open
    data: str | None = None  # what was told of its data: data, no_data, invalid
    memory: dict[str, Any] | None = None
    recent: tuple[Seen, ...] = ()


class Ledger(Struct, frozen=True):
    """All standings; `until` is the end of the last window that each group was judged up to."""

    baseline: str = ""
    until: dict[str, datetime] = {}
    standings: dict[str, Standing] = {}
    stale: str = ""  # what was told of a baseline that the configuration no longer fits
    unseen: dict[str, int] = {}  # windows in a row in which another version of a stream's space came, and it did not
    replaced: dict[str, str] = {}  # streams of versions that are no longer served -> the stream in their place


class News(Struct, frozen=True):
    """What somebody is told of a change."""

    status: Word
    severity: Literal["info", "ticket", "page"]
    reason: str
    opens: bool = False


def read(control: Control) -> Ledger:
    """The ledger as it stands."""
    kept = control.cursor(CURSOR)
    return Ledger() if kept is None else msgspec.json.decode(kept, type=Ledger)


def written(ledger: Ledger) -> tuple[str, str]:
    """The cursor that holds a ledger."""
    return CURSOR, msgspec.json.encode(ledger).decode()


def after(
    before: Standing, result: Result, memory: dict[str, Any] | None, start: datetime, *, alarm: Word, risk: bool,
    quiet: bool, recovery: int,
) -> tuple[Standing, News | None]:
    """The standing after one window, and what is news in that.

    `alarm` is what an alarm is called; `quiet` says that missing data are no news (known, or as in the baseline); of a
    `risk` a window is ordinary where its mean is no worse than the bound, of others where its rank is.
    """
    recent = (*before.recent, _seen(result, start))[-RECENT:]
    base = msgspec.structs.replace(before, recent=recent)
    if result.status not in ("ok", "drift"):
        return _without_data(base, result, start, quiet)
    again = base.data not in (None, "data")
    base = msgspec.structs.replace(base, data="data")
    if before.open is not None:
        standing, news = _open(base, result, start, risk, recovery)
        if again and news is None:
            news = News(alarm, "info", f"{AGAIN_DATA}, the incident is still open: {result.reason}")
        return standing, news
    if result.status == "drift":
        severity: Any = result.severity if alarm == "drift" else "ticket"
        return (_moved(base, alarm, severity, result.reason, start, memory=None, calm=0),
                News(alarm, severity, result.reason, opens=True))
    standing = _moved(base, "ok", "info", result.reason, start, memory=memory)
    return standing, News("ok", "info", f"{AGAIN_DATA}: {result.reason}") if again else None


def _without_data(base: Standing, result: Result, start: datetime, quiet: bool) -> tuple[Standing, News | None]:
    word: Word = "invalid" if result.status == "invalid" else "no_data"
    if base.open is not None:  # an incident is not over because nothing is seen; that nothing is, is news
        if quiet:
            return msgspec.structs.replace(base, calm=0), None
        said = f"{result.reason}; the incident is still open"
        lost = None if base.data == word else News(word, "ticket" if word == "invalid" else "info", said)
        return msgspec.structs.replace(base, calm=0, data=word, reason=said), lost
    if quiet:
        return _moved(base, "no_data", "info", result.reason, start), None
    news = None if base.data == word else News(word, "ticket" if word == "invalid" else "info", result.reason)
    moved = _moved(base, word, "ticket" if word == "invalid" else "info", result.reason, start)
    return msgspec.structs.replace(moved, data=word), news


def _open(base: Standing, result: Result, start: datetime, risk: bool, recovery: int) -> tuple[Standing, News | None]:
    calm = base.calm + 1 if _ordinary(result, risk) else 0
    if calm < recovery:
        return msgspec.structs.replace(base, calm=calm, reason=result.reason), None
    reason = f"over: {calm} ordinary windows in a row; {result.reason}"
    standing = _moved(base, "ok", "info", reason, start, memory=None, calm=0)
    return msgspec.structs.replace(standing, open=None), News("ok", "info", reason)


def left(before: Standing, version: str, start: datetime) -> tuple[Standing, News]:
    """The standing of a version of a space that another replaced: nothing comes that could end its incident."""
    standing = _moved(before, "ok", "info", f"over: replaced by version {version}", start, calm=0)
    return msgspec.structs.replace(standing, open=None), News("ok", "info", standing.reason)


def _ordinary(result: Result, risk: bool) -> bool:
    if result.status == "drift":
        return False
    return (result.score or 0.0) <= 0 if risk else (result.p_value or 0.0) > ORDINARY


def _moved(base: Standing, status: str, severity: str, reason: str, start: datetime, **more: Any) -> Standing:
    since = base.since if base.status == status and base.since is not None else start
    return msgspec.structs.replace(base, status=status, severity=severity, reason=reason, since=since, **more)


def _seen(result: Result, start: datetime) -> Seen:
    e = None if result.e_value is None else min(result.e_value, 1e300)
    return Seen(start, result.status, result.p_value, e, result.score, result.statistic, result.n)
