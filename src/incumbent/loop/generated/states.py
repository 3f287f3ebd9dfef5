"""text_states: what generating models wrote and were given, checked, as states of every (day, user bucket) shard.

The texts stand in the impressions, which are read only where a model says ``options = { generates = true }``. Key
``text/SURFACE/model=M/role=R/metric=NAME``; shards add over days and buckets. A text is checked against the catalogue
as it is when its shard is rebuilt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.events.schema import Generated
from incumbent.events.window import Window
from incumbent.loop.leases import Held
from incumbent.loop.rollup import state_row
from incumbent.metrics.generated_text import (
    FlaggedTexts,
    blocked_language,
    hidden_instructions,
    invented_titles,
    unsupported_claims,
)
from incumbent.metrics.metric import Batch, Side
from incumbent.metrics.scorer import Facts, Text, reasons
from incumbent.stores.store import Control, Lake, Partition, StateRow

LEASE = CURSOR = "text"
PREFIX = "text/"
_generated = msgspec.json.Decoder(Generated)
Rows = dict[str, list[Any]]


class Read(Struct, frozen=True):
    """What a run did; `stopped` says why not all, None where it did all."""

    shards: int = 0
    states: int = 0
    stopped: str | None = None


def metrics_of(config: Config) -> list[FlaggedTexts]:
    """The checks of a deployment: the built-in ones, and the scorers that ``[text]`` names in their place or beside."""
    text = config.text
    return [invented_titles(), unsupported_claims(tolerance=text.price_tolerance),
            blocked_language(more=text.blocked), *(blocked_language(scorer=name) for name in text.scorers),
            hidden_instructions()]


class TextStates:
    """Keeps the states of texts; one at a time, under the lease `text`."""

    def __init__(self, lake: Lake, control: Control, clock: Clock, config: Config, *, holder: str = "loop",
                 lease_s: float = 30.0) -> None:
        self._lake, self._control, self._clock, self._config = lake, control, clock, config
        self._holder, self._lease_s = holder, lease_s
        self._metrics: list[FlaggedTexts] | None = None

    def run_once(self) -> Read:
        """Bring the states up to what the lake holds now; nothing where no model writes."""
        if not any(model.options.get("generates") is True for model in self._config.models.values()):
            return Read()
        with Held(self._control, self._clock, LEASE, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Read(stopped="another process holds the lease")
            version, changed = self._lake.changes("impression", int(self._control.cursor(CURSOR) or -1))
            shards, made = sorted(changed), 0
            if not shards:
                self._control.set_cursor(CURSOR, str(version))
                return Read()
            catalogue = catalogue_of(self._lake)
            for i, shard in enumerate(shards):
                states = list(self._states(shard, catalogue))
                if not lease.renew():
                    return Read(i, made, "the lease went to another process")
                self._control.put(shard.day, shard.bucket, LEASE, states,
                                  (CURSOR, str(version)) if i == len(shards) - 1 else None)
                made += len(states)
            return Read(len(shards), made)

    def _states(self, shard: Partition, catalogue: pa.Table) -> Iterator[StateRow]:
        rows = self._lake.scan("impression", Window.of_day(shard.day), [shard.bucket], ["user_id", "surface", "models"])
        self._metrics = self._metrics or metrics_of(self._config)
        titles = dict(zip(catalogue["item_id"].to_pylist(), catalogue["title"].to_pylist(), strict=True))
        for (surface, model, role), texts in sorted(texts_by_model(rows, titles).items()):
            batch, side = Batch(texts), Side(catalogue=catalogue)
            for metric in self._metrics:
                state = metric.state().update(*metric.observe(batch, side))
                if not state.empty:
                    yield state_row(f"{PREFIX}{surface}/model={model}/role={role}/metric={metric.name}", shard, state)


def texts_by_model(rows: pa.Table, titles: dict[str, str | None]) -> dict[tuple[str, str, str], Rows]:
    """(surface, model, role) -> its texts as rows of `FlaggedTexts`."""
    out: dict[tuple[str, str, str], Rows] = {}
    for row in rows.to_pylist():
        for answer in row["models"] or ():
            if answer["generated"] is None:
                continue
            found = out.setdefault((row["surface"], answer["name"], answer["role"]), {
                "user_id": [], "text": [], "place": [], "item_id": [], "shown": []})
            for text in texts_of(_generated.decode(answer["generated"]), answer["items"], titles):
                for name, value in (("user_id", row["user_id"]), ("text", text.text), ("place", text.place),
                                    ("item_id", text.item_id), ("shown", list(text.shown))):
                    found[name].append(value)
    return out


def texts_of(generated: Generated, items: list[str], titles: dict[str, str | None]) -> Iterator[Text]:
    """All texts of one answer: what was written, and what was given, the titles of its items among them."""
    page = tuple(items)
    if generated.text:
        yield Text(generated.text, "page", None, page)
    for one in generated.items:
        if one.title:
            yield Text(one.title, "title", one.item_id, page)
        if one.explanation:
            yield Text(one.explanation, "explanation", one.item_id, page)
    if generated.input:
        yield Text(generated.input, "input", None, page)
    for piece in generated.retrieved:
        yield Text(piece.text, "retrieved", piece.item_id, page)
    for item in items:
        if title := titles.get(item):
            yield Text(title, "catalogue", item, page)


def catalogue_of(lake: Lake) -> pa.Table:
    """The newest facts of every item: item_id, title, price_minor, currency."""
    rows = lake.scan("item", columns=["item_id", "time", "event_id", "title", "price_minor", "currency"])
    keep = pc.ScalarAggregateOptions(skip_nulls=False)
    newest = rows.sort_by([("time", "ascending"), ("event_id", "ascending")]).group_by(
        "item_id", use_threads=False).aggregate([(name, "last", keep) for name in ("title", "price_minor", "currency")])
    return newest.rename_columns([name.removesuffix("_last") for name in newest.column_names]).select(
        ["item_id", "title", "price_minor", "currency"])


def checked(lake: Lake, generated: Generated, items: list[str], config: Config | None = None) -> list[dict[str, Any]]:
    """What the checks find in one answer: place, item, the text, and every reason; texts without any are left out."""
    catalogue = catalogue_of(lake)
    facts = Facts.of(zip(*(catalogue[name].to_pylist() for name in catalogue.column_names), strict=True))
    metrics = metrics_of(config or Config())
    found = []
    for text in texts_of(generated, items, dict(facts.titles)):
        why = [(metric.name, reason) for metric in metrics if text.place in metric.places
               for reason in reasons(metric.scorer, text, facts)]
        if why:
            found.append({"place": text.place, "item_id": text.item_id, "text": text.text[:500],
                          "reasons": [{"check": name, "reason": reason} for name, reason in why]})
    return found
