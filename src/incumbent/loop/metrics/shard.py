"""One day of one user bucket as states: every metric of every surface, model and cell. A pure function of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace
from numpy.typing import NDArray

from incumbent.config import MetricsConfig
from incumbent.errors import DataError
from incumbent.loop.left_out import Standing, without
from incumbent.loop.metrics import days as metric_days
from incumbent.loop.metrics import rows as metric_rows
from incumbent.loop.metrics import sides as metric_sides
from incumbent.loop.metrics import slices as metric_slices
from incumbent.loop.metrics.cohort_cells import DayCohorts
from incumbent.loop.metrics.earlier import Earlier, seen_days
from incumbent.loop.metrics.keys import Cell, States
from incumbent.loop.metrics.set import MONEY, SLOTS, Measured, cuts, measured, stem
from incumbent.loop.metrics.slices import Budget, Cut
from incumbent.loop.metrics.tables import Span, on_days
from incumbent.loop.relations import DAY_US
from incumbent.metrics.metric import Batch, Metric, Side


@dataclass(eq=False)
class Known:
    """What is the same for all shards of a run: settings, sides, caps, and what is learnt on the way."""

    config: MetricsConfig
    catalogue: metric_sides.Catalogue
    ages: metric_sides.Ages
    budget: Budget
    popular: Any  # date -> table or None
    excluded: Standing
    currencies: dict[str, str] = field(default_factory=dict)
    caps: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # surface -> value, dwell, seconds
    vectors: pa.Table | None = None
    _made: dict[str, Measured] = field(default_factory=dict)
    _zeros: dict[tuple[str, str], Any] = field(default_factory=dict)

    def metrics(self, surface: str) -> Measured:
        """The metrics of a surface, whose money is of one currency."""
        currency = self.currencies.get(surface, "")
        if currency not in self._made:
            self._made[currency] = measured(self.config, currency)
        return self._made[currency]

    def zero(self, surface: str, metric: Metric) -> Any:
        """The empty state of a metric, with the cap of a heavy-tailed one once the baseline has it. Made once: states
        that share their configuration add without a look at it."""
        key = (surface, metric.name)
        if key not in self._zeros:
            settings = {}
            if getattr(metric, "heavy_tailed", False):
                name = "value" if metric.name in MONEY else "dwell" if metric.name == "dwell" else "seconds"
                cap = self.caps.get(surface, {}).get(name)
                settings = {} if cap is None else {"cap": cap}
            self._zeros[key] = metric.state(settings)
        return self._zeros[key]


@dataclass(frozen=True, eq=False)
class Rows:
    """A batch with its side, and the cell of each of its rows."""

    batch: Batch
    side: Side
    codes: NDArray[np.int64]

    def of(self, code: int) -> Batch:
        """The rows of one cell."""
        mine = self.codes == code
        return self.batch.once(_only, None, code, mine.tobytes())


def _taken(by: list[Cut], rows: NDArray[np.int64]) -> list[Cut]:
    """The cuts of some requests; a lane compares experiments, and no models."""
    return [Cut(cut.by, cut.names, cut.codes[rows]) for cut in by if cut.by != "lane"]


def _only(batch: Batch, side: Side | None, code: int, mask: bytes) -> Batch:
    mine = np.frombuffer(mask, np.bool_)
    return Batch({name: column.filter(pa.array(mine)) if isinstance(column, pa.Array | pa.ChunkedArray) else
                  np.asarray(column)[mine] for name, column in batch.rows.items()})


class Shard:
    """One (day, bucket)."""

    def __init__(self, span: Span, day: date, known: Known) -> None:
        self._day, self._known, config = day, known, known.config
        self._impressions = on_days(span.shown, day, day).sort_by([("time", "ascending"), ("request_id", "ascending")])
        self._lookup = on_days(span.shown, day - timedelta(days=1), day)
        self._outcomes = on_days(span.outcomes, day, day)
        self._told = on_days(span.told, day, day)
        self._seen = on_days(span.seen, day - timedelta(days=seen_days(config)), day)
        end, excluded = metric_sides.end_of(day), known.excluded  # what was left out then, on every rebuild
        self._wanted = without(span.outcomes, excluded.left_out(end + config.relevant_days * DAY_US))
        self._history = metric_sides.history(without(span.outcomes, excluded.left_out(end)), day, config.history_days)
        self.out: dict[Cell, States] = {}

    def states(self) -> dict[Cell, States]:
        """Cell -> metric name -> state, empty ones left out."""
        surfaces = {*pc.unique(self._impressions["surface"]).to_pylist(),
                    *(one for one in pc.unique(self._outcomes["surface"]).to_pylist() if one is not None)}
        for surface in sorted(surfaces):
            self._surface(surface)
        return self.out

    def _put(self, cell: Cell, metric: Metric, arguments: Iterable[Any]) -> None:
        state = self._known.zero(cell.surface, metric).update(*arguments)
        if not state.empty:
            self.out.setdefault(cell, {})[metric.name] = state

    def _surface(self, surface: str) -> None:
        known, config = self._known, self._known.config
        rows = self._impressions.filter(pc.equal(self._impressions["surface"], surface))
        metrics, facts = known.metrics(surface), known.catalogue.as_of(self._day)
        before = self._before()
        by = metric_slices.of_requests(rows, surface, config, known.budget,
                                       [user in before for user in rows["user_id"].to_pylist()])
        earlier = Earlier(self._seen, (self._day - metric_sides.EPOCH).days, surface, config, known.budget)
        shown = metric_rows.of_surface(rows)
        relevant = metric_sides.relevant(self._wanted, rows, self._day, config.relevant_days, config.relevant)
        self._lists(Cell(surface), shown, metrics.answers, metrics.lists, relevant, facts, by)
        for (name, role), (one, asked) in metric_rows.of_models(rows, {
                "model": known.ages.model, "vectors": known.ages.vectors}).items():
            self._lists(Cell(surface, model=name, role=role), one, metrics.model, metrics.lists, relevant, facts,
                        _taken(by, asked))
        for name, (both, asked) in metric_rows.of_both(rows).items() if metrics.both else ():
            cell, taken = Cell(surface, model=name, role="candidate"), _taken(by, asked)
            for metric in metrics.both:
                observed = metric.observe(both, Side())
                self._put(cell, metric, observed)
                for cut in taken if cuts(config.model_sliced, metric) else ():
                    self._cut(cell, metric, observed, cut, cut.codes, Rows(both, Side(), cut.codes))
        if not known.currencies.get(surface):
            known.currencies[surface] = self._currency(surface)
        events = metric_days.events_of(self._outcomes, self._told, surface, known.currencies[surface])
        self._days(surface, rows, shown, events, by, facts, earlier)
        clicks = metric_rows.of_clicks(self._told, self._outcomes, self._lookup, surface)
        dwells = metric_rows.of_dwells(self._told, set(events["event_id"].to_pylist()))
        for part, batch in ((metrics.clicks, clicks), (metrics.dwells, dwells)):
            for metric in part:
                observed = metric.observe(batch, Side())
                self._put(Cell(surface), metric, observed)
                for cut in by if cuts(config.sliced, metric) else ():
                    codes = earlier.of_events(batch.rows, cut, rows)
                    self._cut(Cell(surface), metric, observed, cut, codes, Rows(batch, Side(), codes))
        self._cohorts(surface, rows, shown, by, earlier)

    def _currency(self, surface: str) -> str:
        """The configured currency, or the one in which most of what was bought here first."""
        if self._known.config.currency is not None:
            return self._known.config.currency
        rows = self._outcomes
        bought = rows.filter(pc.and_(pc.equal(rows["action"], "purchase"), rows["placed"]))
        found = Counter(bought.filter(pc.equal(bought["surface"], surface))["currency"].to_pylist())
        found.pop(None, None)
        return max(sorted(found), key=lambda one: found[one]) if found else ""

    def _lists(self, cell: Cell, shown: metric_rows.Lists, of_answers: tuple[Any, ...], of_lists: tuple[Any, ...],
               relevant: pa.Table, facts: metric_sides.Facts | None, by: list[Cut]) -> None:
        known = self._known
        among = None if facts is None else facts.among(shown.items)
        side = Side(
            relevant=relevant, history=self._history, popularity=known.popular(self._day), vectors=known.vectors,
            catalogue=among, excluded=metric_sides.excluded(shown.answers.rows["user_id"], known.excluded, among))
        for part, batch, rows in ((of_answers, shown.answers, None), (of_lists, shown.lists, shown.rows)):
            for metric in part:
                try:
                    observed = metric.observe(batch, side)
                except DataError as error:
                    if not (error.field or "").startswith("side."):
                        raise
                    continue  # the shop has not told what this one needs
                self._put(cell, metric, observed)
                if by and cuts(known.config.sliced if cell.model is None else known.config.model_sliced, metric):
                    owner = None if rows is None else batch.rows["list_id"]
                    for cut in by:
                        self._cut(cell, metric, observed, cut, cut.codes if rows is None else cut.codes[rows],
                                  Rows(batch, side, cut.codes if owner is None else cut.codes[owner]))

    def _cut(self, whole: Cell, metric: Metric, observed: tuple[Any, ...], cut: Cut, codes: NDArray[np.int64],
             rows: Rows) -> None:
        """What was observed, row by row; what is of all rows together is observed anew of each value's."""
        apart = all(isinstance(part, np.ndarray) and len(part) == len(codes) for part in observed)
        for code in np.unique(codes[codes >= 0]).tolist():
            own = tuple(part[codes == code] for part in observed) if apart else metric.observe(rows.of(code), rows.side)
            self._put(replace(whole, by=cut.by, value=cut.names[code]), metric, own)

    def _days(self, surface: str, rows: pa.Table, shown: metric_rows.Lists, events: pa.Table, by: list[Cut],
              facts: metric_sides.Facts | None, earlier: Earlier) -> None:
        known = self._known
        metrics = known.metrics(surface).days
        owner = shown.lists.rows["list_id"]
        none, here = np.zeros(len(owner), np.int64), np.zeros(events.num_rows, np.int64)
        asked = {"user_id": rows["user_id"], "session_id": rows["session_id"]}
        batch, _ = metric_days.user_days({**asked, "label": np.zeros(rows.num_rows, np.int64)}, (owner, none), events,
                                         here)
        for metric in metrics:
            self._put(Cell(surface), metric, metric.observe(batch, Side()))
        for cut in by:
            at = earlier.of_events(events, cut, rows)
            made = metric_days.user_days({**asked, "label": cut.codes}, (owner, none), events, at, len(cut.names))
            self._by_label(surface, metrics, known.config.sliced, cut, *made)
        both = pa.concat_arrays([metric_rows.one_array(part).cast(pa.string()) for part in (
            shown.items, events["item_id"])])
        for cut in metric_slices.of_items(both, surface, known.config, known.budget, facts):
            of_slots, of_events = cut.codes[:len(owner)], cut.codes[len(owner):]
            made = metric_days.user_days(asked, (owner, of_slots), events, of_events, len(cut.names))
            self._by_label(surface, metrics, known.config.item_sliced, cut, *made)

    def _by_label(self, surface: str, metrics: tuple[Any, ...], names: tuple[str, ...], cut: Cut, batch: Batch,
                  labels: NDArray[np.int64]) -> None:
        for metric in metrics:
            if cuts(names, metric):
                observed = metric.observe(batch, Side())
                self._cut(Cell(surface), metric, observed, cut, labels, Rows(batch, Side(), labels))

    def _before(self) -> set[str]:
        """Who asked in the `history_days` before this one."""
        first = self._day - timedelta(days=self._known.config.history_days)
        return set(pc.unique(on_days(self._seen, first, self._day - timedelta(days=1))["user_id"]).to_pylist())

    def _cohorts(self, surface: str, rows: pa.Table, shown: metric_rows.Lists, by: list[Cut], earlier: Earlier) -> None:
        """Those that began, and what of earlier ones came, on the surface and in each cell."""
        known, config = self._known, self._known.config
        made = DayCohorts(surface, (self._day - metric_sides.EPOCH).days, rows, self._outcomes, earlier)
        of = {(field, stem(one.name)) for field in ("sliced", "item_sliced") for one in known.metrics(surface).cohorts
              if cuts(getattr(config, field), one)}

        def of_items(items: Any, day: date) -> list[Cut]:
            return metric_slices.of_items(items, surface, config, known.budget, known.catalogue.as_of(day))

        parts = [made.whole(), *(made.of_requests(cut, returned=("sliced", "return_rate") in of,
                                                  bought=("sliced", SLOTS) in of) for cut in by)]
        if ("item_sliced", SLOTS) in of:
            parts.append(made.of_items(shown.lists.rows["list_id"], shown.items, of_items))
        for cell, name, state in chain.from_iterable(parts):
            if not state.empty:
                self.out.setdefault(cell, {})[name] = state
