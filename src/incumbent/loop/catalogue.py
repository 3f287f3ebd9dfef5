"""catalogue: what a shop says of its items (`Item` events) reaches the plan: what is delisted, what is a variant.

The newest event of an item counts, by its time and then its id, whenever it arrives. What is known stands in Control
under the cursor ``catalogue``, so that a gateway can build its plan without the lake; and beside it, for shoppers who
exclude a category, the items of each (`shoppers`).
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.events.plan import ServingPlan
from incumbent.loop.leases import Held
from incumbent.loop.plan import build_plan
from incumbent.loop.shoppers import CATEGORIES, ITEMS_OF, VERSION, cursor_of
from incumbent.stores.store import Control, Lake

CURSOR = "catalogue"


class Known(Struct, frozen=True):
    """What serving needs of the catalogue, as of one version of the lake's items."""

    version: int = -1
    delisted: list[str] = []
    groups: dict[str, str] = {}


class Catalogued(Struct, frozen=True):
    """What a run did: whether it looked, and the hash of the plan that it published, where that is a new one."""

    looked: bool = False
    delisted: int = 0
    plan: str | None = None
    stopped: str | None = None


def known(control: Control) -> Known:
    """What Control knows of the catalogue."""
    kept = control.cursor(CURSOR)
    return Known() if kept is None else msgspec.json.decode(kept, type=Known)


def current_plan(config: Config, control: Control) -> ServingPlan:
    """The plan that should be in force: configuration, experiments and catalogue as they stand."""
    items = known(control)
    return build_plan(config, control.experiments(), delisted=items.delisted, groups=items.groups)


class Cataloguer:
    """Reads the lake's items where they changed, and publishes the plan that follows; one at a time."""

    def __init__(self, lake: Lake, control: Control, clock: Clock, plan_of: Callable[[], ServingPlan], *,
                 holder: str = "loop", lease_s: float = 30.0) -> None:
        self._lake, self._control, self._clock, self._plan_of = lake, control, clock, plan_of
        self._holder, self._lease_s = holder, lease_s

    def run_once(self) -> Catalogued:
        """Bring the plan up to the catalogue."""
        before = known(self._control)
        version, changed = self._lake.changes("item", before.version)
        if not changed and version == before.version and self._control.cursor(VERSION) is not None:
            return Catalogued()
        with Held(self._control, self._clock, CURSOR, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Catalogued(stopped="another process holds the lease")
            after, categories = self._read(version)
            self._tell(categories)
            self._control.set_cursor(CURSOR, msgspec.json.encode(after).decode())
            old, new = self._control.plan_version(), self._control.publish(
                msgspec.structs.replace(self._plan_of(), time=self._clock.now()))
        return Catalogued(True, len(after.delisted), new.hash if new.version != old else None)

    def _tell(self, categories: dict[str, list[str]]) -> None:
        """Write the items of the categories that changed, then their hashes, then the hash of these: who sees one
        finds what it is of, and where nothing changed there is nothing to load."""
        before = self._control.cursors(ITEMS_OF)
        after = {cursor_of(name): msgspec.json.encode(items).decode() for name, items in categories.items()}
        for name, text in {**dict.fromkeys(before, "[]"), **after}.items():
            if before.get(name) != text:
                self._control.set_cursor(name, text)
        index = msgspec.json.encode({name: _hash(after[cursor_of(name)]) for name in sorted(categories)}).decode()
        for name, text in ((CATEGORIES, index), (VERSION, _hash(index))):
            if self._control.cursor(name) != text:
                self._control.set_cursor(name, text)

    def _read(self, version: int) -> tuple[Known, dict[str, list[str]]]:
        """What serving needs, and the items of each category."""
        from pyarrow import compute as pc  # a gateway reads `known`, and loads no Arrow

        rows = self._lake.scan("item", columns=["item_id", "time", "event_id", "listed", "group_id",
                                                "category"])
        if not rows.num_rows:
            return Known(version), {}
        keep_nulls = pc.ScalarAggregateOptions(skip_nulls=False)
        newest: Any = rows.sort_by([("time", "ascending"), ("event_id", "ascending")]).group_by(
            "item_id", use_threads=False).aggregate([(name, "last", keep_nulls) for name in (
                "listed", "group_id", "category")])
        table = newest.select(["item_id", "listed_last", "group_id_last", "category_last"]).to_pydict()
        found = sorted(zip(*table.values(), strict=True), key=lambda row: row[0])
        categories: dict[str, list[str]] = {}
        for item, _, _, category in found:
            if category is not None:
                categories.setdefault(category, []).append(item)
        return Known(version, [item for item, listed, _, _ in found if listed is False],
                     {item: group for item, _, group, _ in found if group is not None}), categories


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
