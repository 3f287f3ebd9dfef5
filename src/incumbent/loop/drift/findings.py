"""The findings of drift, as they are written: of one stream, and of several that have one thing to tell."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any, Literal

from incumbent.clock import EPOCH
from incumbent.events.schema import Finding
from incumbent.events.window import Window
from incumbent.loop.drift.baselines import Baseline
from incumbent.loop.drift.ledger import News
from incumbent.loop.drift.standstill import SAID, WAITS


def of_stream(baseline: Baseline, now: datetime, monitor: str, name: str, window: Window, news: News,
              evidence: dict[str, Any]) -> Finding:
    """What is news of one judge."""
    return Finding(
        event_id=event_id(window.end, baseline.id, name), time=now, subject=f"stream:{name}", check=f"drift:{monitor}",
        status=news.status, severity=news.severity, reason=news.reason,
        evidence={"window": _period(window), "baseline": named(baseline), **evidence})


def of_all(baseline: Baseline, now: datetime, group: str, window: Window, word: Literal["no_data", "ok"],
           monitors: list[str]) -> Finding:
    """What is news of several monitors and one thing: nothing came, or something comes again."""
    return Finding(
        event_id=event_id(window.end, baseline.id, group, word), time=now, subject=f"baseline:{baseline.row.name}",
        check="drift:window", status=word, severity="info",
        reason=f"{SAID[word]} ({len(monitors)} monitors that {WAITS[group]})",
        evidence={"window": _period(window), "baseline": named(baseline), "monitors": monitors})


def event_id(moment: datetime, *parts: str) -> str:
    """The UUIDv7 of what is concluded of a window: always the same, so that two processes cannot conclude it twice."""
    digest = hashlib.blake2b("\n".join(parts).encode(), digest_size=10).digest()
    value = ((moment - EPOCH) // timedelta(milliseconds=1)) << 80 | int.from_bytes(digest, "big")
    text = f"{value & ~(0xF << 76) & ~(0b11 << 62) | 0x7 << 76 | 0b10 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def named(baseline: Baseline) -> dict[str, Any]:
    """A baseline as evidence names it."""
    return {"name": baseline.row.name, "version": baseline.row.version, "hash": baseline.row.hash}


def _period(window: Window) -> dict[str, str]:
    return {"start": window.start.isoformat(), "end": window.end.isoformat()}
