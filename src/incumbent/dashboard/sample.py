"""Sampled requests for a person to look at: both lists, the merged one, and whose every slot is."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pyarrow.compute as pc

from incumbent.events.schema import Impression
from incumbent.events.window import Window
from incumbent.stores.columns import from_arrow
from incumbent.stores.store import Lake

KEEP_S = 60.0


class Samples:
    """A few of an experiment's newest requests and the titles of items, read from the lake at most once a minute."""

    def __init__(self, lake: Lake, monotonic: Any) -> None:
        self._lake, self._monotonic = lake, monotonic
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Any]] = {}

    def requests(self, experiment: str, now: datetime, n: int = 4) -> list[Impression]:
        """The newest `n` requests that the experiment touched, interleaved ones first, of the last thirty days."""
        found: list[Impression] = self._once(f"requests/{experiment}", lambda: self._requests(experiment, now, n))
        return found

    def _requests(self, experiment: str, now: datetime, n: int) -> list[Impression]:
        for days in (1, 30):
            rows = self._lake.scan("impression", Window(now - timedelta(days=days), now + timedelta(hours=1)))
            rows = rows.filter(pc.equal(rows["experiment"], experiment))
            merged = rows.filter(pc.equal(rows["mode"], "interleave"))
            chosen = (merged if merged.num_rows else rows).sort_by([("time", "descending")]).slice(0, n)
            if chosen.num_rows:
                return [event for event in from_arrow("impression", chosen) if isinstance(event, Impression)]
        return []

    def titles(self) -> dict[str, str]:
        """Item id -> its newest title, where the catalogue was sent."""
        found: dict[str, str] = self._once("titles", self._titles)
        return found

    def _titles(self) -> dict[str, str]:
        rows = self._lake.scan("item", None, columns=["item_id", "title", "time"])
        rows = rows.filter(pc.is_valid(rows["title"])).sort_by([("time", "ascending")])
        return dict(zip(rows["item_id"].to_pylist(), rows["title"].to_pylist(), strict=True))

    def _once(self, key: str, make: Any) -> Any:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or self._monotonic() - kept[0] > KEEP_S:
                kept = self._kept[key] = (self._monotonic(), make())
            return kept[1]
