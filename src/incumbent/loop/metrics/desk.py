"""The trees of a deployment, kept while nothing new was measured: what desk, page and command ask."""

from __future__ import annotations

import threading
from datetime import datetime

from msgspec.structs import replace

from incumbent.config import MetricsConfig
from incumbent.events.window import Window, day_of
from incumbent.loop.attribute import read_cursor
from incumbent.loop.metrics.read import Reader
from incumbent.loop.metrics.sides import Catalogue
from incumbent.loop.metrics.states import CURSOR, cursor_of
from incumbent.loop.metrics.tree import Tree, tree
from incumbent.stores.store import Control, Lake

KEPT = 32


class Trees:
    """Trees by surface and period, made once per state of the measurements and day."""

    def __init__(self, lake: Lake, control: Control, config: MetricsConfig) -> None:
        self._control, self._config = control, config
        self._reader, self._catalogue = Reader(control), Catalogue(lake)
        self._made: dict[tuple[object, ...], Tree] = {}
        self._turn = threading.Lock()

    def of(self, surface: str, now: datetime, days: int) -> Tree:
        """The tree of a surface over the last `days` whole days before `now` that were measured: a day that has just
        ended is none of them yet. Where none of them had anything, the days up to the last that had, and
        `quiet_since` says so."""
        with self._turn:
            before = cursor_of(self._control).before
            measured = read_cursor(self._control).at if before is None else Window.of_day(before).start
            now = now if measured is None or day_of(measured) >= day_of(now) else measured
            key = (surface, days, day_of(now), self._control.cursor(CURSOR))
            if key not in self._made:
                if len(self._made) >= KEPT:
                    self._made.pop(next(iter(self._made)))
                facts = self._catalogue.as_of(day_of(now))
                items = frozenset() if facts is None else frozenset(facts.table["item_id"].to_pylist())
                currency = cursor_of(self._control).currencies.get(surface, "")
                made = tree(self._reader, surface, self._config, now, days=days, catalogue=items, currency=currency)
                if (quiet := made.quiet_since) is not None and quiet < made.since:
                    made = replace(tree(self._reader, surface, self._config, Window.of_day(quiet).end, days=days,
                                        catalogue=items, currency=currency), quiet_since=quiet)
                self._made[key] = made
            return self._made[key]
