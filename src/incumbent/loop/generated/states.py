"""text_states: what generating models wrote and were given, checked, as states of every (day, user bucket) shard.

The texts stand in the impressions, which are read only where a model says ``options = { generates = true }``, piece by
piece, once their UTC day is over and again where late rows come. Key ``text/SURFACE/model=M/role=R/metric=NAME``;
shards add over days and buckets. A text is checked against the catalogue as it is when its shard is rebuilt.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from incumbent import logs
from incumbent.clock import Clock
from incumbent.config import Config
from incumbent.errors import DataError
from incumbent.events.schema import Generated
from incumbent.events.window import day_of
from incumbent.loop.leases import Held
from incumbent.loop.rollup import state_row
from incumbent.metrics.generated_text import (
    FlaggedTexts,
    blocked_language,
    hidden_instructions,
    invented_titles,
    unsupported_claims,
)
from incumbent.metrics.scorer import Facts, Text, reasons
from incumbent.stats.buckets import Buckets, bucket_of
from incumbent.stores.store import Control, Lake, Partition, StateRow

LEASE = CURSOR = "text"
PREFIX = "text/"
PIECE_ROWS = 256  # impressions whose lists are looked at together
_generated = msgspec.json.Decoder(Generated)


class TextCursor(Struct, frozen=True):
    """The version of the lake's impressions that the states know, and the shards of days that are not over."""

    impression: int = -1
    waiting: list[tuple[date, int]] = []


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
        """Bring the states of days that are over up to what the lake holds now; nothing where no model writes."""
        if not any(model.options.get("generates") is True for model in self._config.models.values()):
            return Read()
        with Held(self._control, self._clock, LEASE, self._holder, self._lease_s) as lease:
            if not lease.renew():
                return Read(stopped="another process holds the lease")
            before = cursor_of(self._control)
            version, changed = self._lake.changes("impression", before.impression)
            today, touched = day_of(self._clock.now()), sorted(changed | {Partition(*one) for one in before.waiting})
            after = TextCursor(version, [(shard.day, shard.bucket) for shard in touched if shard.day >= today])
            shards, made = [shard for shard in touched if shard.day < today], 0
            moved = (CURSOR, msgspec.json.encode(after).decode())
            if not shards:
                self._control.set_cursor(*moved)
                return Read()
            self._metrics = self._metrics or metrics_of(self._config)
            checks = Checks(self._metrics, facts_of(catalogue_of(self._lake)))
            for i, shard in enumerate(shards):
                states = self._states(shard, checks, lease)
                if states is None:
                    return Read(i, made, "the lease went to another process")
                self._control.put(shard.day, shard.bucket, LEASE, states, moved if i == len(shards) - 1 else None)
                made += len(states)
            for name, problem in checks.failed.items():
                logs.get("incumbent.loop.generated").warning("texts were not checked", check=name, problem=problem)
            return Read(len(shards), made)

    def _states(self, shard: Partition, checks: Checks, lease: Held) -> list[StateRow] | None:
        """The states of a shard; None where the lease went meanwhile."""
        found: dict[tuple[str, str, str, int], Buckets] = {}
        for rows in self._lake.fresh("impression", shard, -1).read(["user_id", "surface", "models"]):
            for piece in rows.to_batches(max_chunksize=PIECE_ROWS):
                for answer in answers_of(piece):
                    checks.add(answer, found)
                if not lease.renew():
                    return None
        if not lease.renew():
            return None
        return [state_row(f"{PREFIX}{surface}/model={model}/role={role}/metric={checks.metrics[n].name}", shard, state)
                for (surface, model, role, n), state in sorted(found.items(), key=lambda one: one[0])
                if not state.empty]


class Answer(Struct, frozen=True):
    """What a model wrote in answer to a request, and the list beside it."""

    user_id: str
    surface: str
    model: str
    role: str
    items: list[str]
    generated: Generated


class Checks:
    """The checks against one catalogue. A title of the catalogue is looked at once, however often it is listed."""

    def __init__(self, metrics: list[FlaggedTexts], facts: Facts) -> None:
        self.metrics, self._facts = metrics, facts
        self.failed: dict[str, str] = {}  # check -> the first failure of its scorer
        self._titles: list[dict[str, float]] = [{} for _ in metrics]

    def add(self, answer: Answer, to: dict[tuple[str, str, str, int], Buckets]) -> None:
        """Add what each check finds in one answer to the state of (surface, model, role, number of the check)."""
        texts = list(texts_of(answer.generated, answer.items))
        for n, metric in enumerate(self.metrics):
            flags = [self._flag(metric, text) for text in texts if text.place in metric.places]
            if "catalogue" in metric.places:
                flags += self._of_titles(n, answer.items)
            if flags:
                key = (answer.surface, answer.model, answer.role, n)
                bucket = np.repeat(bucket_of([answer.user_id], metric.clusters), len(flags))
                to[key] = (to.get(key) or metric.state()).update(bucket, flags)

    def _of_titles(self, n: int, items: Iterable[str]) -> list[float]:
        known, flags = self._titles[n], []
        for text in titles_of(items, self._facts):
            if text.item_id not in known:
                known[str(text.item_id)] = self._flag(self.metrics[n], text)
            flags.append(known[str(text.item_id)])
        return flags

    def _flag(self, metric: FlaggedTexts, text: Text) -> float:
        """1 where something is found, NaN (missing, and counted as that) where the scorer fails on the text."""
        try:
            return float(bool(reasons(metric.scorer, text, self._facts)))
        except DataError as error:
            self.failed.setdefault(metric.name, str(error))
            return math.nan


def cursor_of(control: Control) -> TextCursor:
    """Where the states stand."""
    text = control.cursor(CURSOR)
    found = TextCursor() if text is None else msgspec.json.decode(text, type=int | TextCursor)
    return TextCursor(found) if isinstance(found, int) else found  # a bare version is the older form


def answers_of(rows: pa.RecordBatch) -> Iterator[Answer]:
    """The answers of models that wrote, one after the other; only theirs leave Arrow."""
    models = rows.column("models")
    parent, answers = pc.list_parent_indices(models), pc.list_flatten(models)
    wrote = pc.is_valid(pc.struct_field(answers, "generated"))
    parent, answers = parent.filter(wrote), answers.filter(wrote)
    fields = (rows.column("user_id").take(parent), rows.column("surface").take(parent),
              *(pc.struct_field(answers, name) for name in ("name", "role", "items", "generated")))
    for at in range(len(parent)):
        user, surface, name, role, items, generated = (column[at].as_py() for column in fields)
        yield Answer(user, surface, name, role, items or [], _generated.decode(generated))


def texts_of(generated: Generated, items: list[str]) -> Iterator[Text]:
    """The texts of one answer: what was written, and what was given but the titles of its items (`titles_of`)."""
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


def titles_of(items: Iterable[str], facts: Facts) -> Iterator[Text]:
    """The titles that the catalogue has of some items; a title is of no page."""
    for item in items:
        if title := facts.titles.get(item):
            yield Text(title, "catalogue", item)


def catalogue_of(lake: Lake) -> pa.Table:
    """The newest facts of every item: item_id, title, price_minor, currency."""
    rows = lake.scan("item", columns=["item_id", "time", "event_id", "title", "price_minor", "currency"])
    keep = pc.ScalarAggregateOptions(skip_nulls=False)
    newest = rows.sort_by([("time", "ascending"), ("event_id", "ascending")]).group_by(
        "item_id", use_threads=False).aggregate([(name, "last", keep) for name in ("title", "price_minor", "currency")])
    return newest.rename_columns([name.removesuffix("_last") for name in newest.column_names]).select(
        ["item_id", "title", "price_minor", "currency"])


def facts_of(catalogue: pa.Table) -> Facts:
    """A catalogue as the checks read it."""
    return Facts.of(zip(*(catalogue[name].to_pylist() for name in catalogue.column_names), strict=True))


def checked(lake: Lake, generated: Generated, items: list[str], config: Config | None = None) -> list[dict[str, Any]]:
    """What the checks find in one answer: place, item, the text, and every reason; texts without any are left out.

    A check that fails says so as its reason: a trace shows the rest.
    """
    facts = facts_of(catalogue_of(lake))
    metrics = metrics_of(config or Config())
    found = []
    for text in chain(texts_of(generated, items), titles_of(items, facts)):
        why = [(metric.name, reason) for metric in metrics if text.place in metric.places
               for reason in _said(metric, text, facts)]
        if why:
            found.append({"place": text.place, "item_id": text.item_id, "text": text.text[:500],
                          "reasons": [{"check": name, "reason": reason} for name, reason in why]})
    return found


def _said(metric: FlaggedTexts, text: Text, facts: Facts) -> list[str]:
    try:
        return reasons(metric.scorer, text, facts)
    except DataError as error:
        return [str(error)]
