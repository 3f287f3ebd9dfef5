"""Which window a judge sees next, and when: what stands in the baseline never, everything after it once."""

from __future__ import annotations

from datetime import datetime, timedelta

from incumbent.clock import EPOCH
from incumbent.config.sections import DriftConfig
from incumbent.events.window import Window
from incumbent.loop.drift.ledger import Ledger
from incumbent.loop.drift.shards import grid_of
from incumbent.loop.drift.watch import Watch


def next_window(watch: Watch, ledger: Ledger, config: DriftConfig, now: datetime) -> Window:
    """The next window that a judge sees; others of its group may have one before it."""
    grid = grid_of(config)
    begun = max(ledger.until.get(watch.judge.group, EPOCH), watch.since, now - timedelta(days=config.keep_days))
    window = grid.window(begun)
    return window if window.start >= begun else grid.window(window.end)


def next_look(watch: Watch, ledger: Ledger, config: DriftConfig, now: datetime) -> tuple[Window, datetime]:
    """That window, and when it can be judged: its outcomes can have come, and what came is in the lake."""
    window = next_window(watch, ledger, config, now)
    return window, window.end + watch.judge.lag(config)
