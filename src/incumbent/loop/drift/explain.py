"""What a drift consists of, in the catalogue's words: clusters, categories, items by title, cells, mix and within."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.config.sections import DriftConfig
from incumbent.drift.breakdown import breakdown
from incumbent.drift.categorical import cell_changes
from incumbent.drift.decompose import decompose
from incumbent.drift.explain import Explanation, explain
from incumbent.drift.item_table import ItemTable
from incumbent.drift.null import merged
from incumbent.drift.segments import LEAST
from incumbent.drift.skew import skew_share
from incumbent.drift.vector_age import age_s
from incumbent.errors import IncumbentError
from incumbent.events.window import Window
from incumbent.loop.drift import latest_vectors, names
from incumbent.loop.drift.arrivals import arrivals
from incumbent.loop.drift.attributes import OTHERS, Part, by_attribute
from incumbent.loop.drift.baselines import Baseline
from incumbent.loop.drift.facts import Facts
from incumbent.loop.drift.felt import Feeler
from incumbent.loop.drift.felt_told import told as felt_told
from incumbent.loop.drift.frames import Frame, shared
from incumbent.loop.drift.grid import micros
from incumbent.loop.drift.judges import Share
from incumbent.loop.drift.shards import Reader, grid_of
from incumbent.loop.drift.skew_clicks import skew_clicks
from incumbent.loop.drift.watch import Watch
from incumbent.stats.buckets import Buckets
from incumbent.stats.estimate import Estimate
from incumbent.stats.items import Items
from incumbent.stores.store import Lake, Partition

EXAMPLES = 10
VALUES = 8  # of a breakdown


class Explainer:
    """Explains one drift from its states, the catalogue and the latest vectors; plain JSON values with a `text`."""

    def __init__(self, lake: Lake, baseline: Baseline, config: DriftConfig) -> None:
        self._lake, self._baseline, self._config = lake, baseline, config

    def explain(self, watch: Watch, window: Window, state: Any) -> dict[str, Any]:
        """What moved between the matched windows and this one, and which segments feel it."""
        frame, reader = self._baseline.frames[watch.judge.stream], Reader.of(self._lake, self._config)
        found = self._moved(watch, window, state, frame, reader)
        if self._config.segment is None or isinstance(watch.judge.of, Share):  # responses are counted by segment
            return found
        held = [one.period for one in watch.reference(window).windows if one.period is not None]
        try:
            felt = Feeler(reader, self._baseline, self._config, watch.judge.stream).felt(window, held)
            more = felt_told(felt, watch.judge, frame.kind, self._config.segment)
        except IncumbentError as error:  # what moved is worth more than by whom it is felt
            more = {"segments": [], "text": f"no segments: {error}"}
        return {**found, **more, "text": "\n".join(filter(None, [found["text"], more.get("text")]))}

    def _moved(self, watch: Watch, window: Window, state: Any, frame: Frame, reader: Reader) -> dict[str, Any]:
        then = self._then(watch, window)
        if watch.judge.risk is not None and watch.judge.monitor != "skew":
            return self._risk(watch, state, then)
        if frame.kind == "skew":
            return self._skew(watch, window, state, then, reader)
        facts = reader.catalogue.at(window.end)
        if frame.kind == "vectors":
            return self._vectors(watch, window, state, then, facts)
        if frame.kind in ("items", "categories"):
            return self._items(watch, window, state, then, frame, facts, reader)
        if frame.kind == "numbers":
            return self._numbers(state, then)
        return self._calibration(state, then)

    def _then(self, watch: Watch, window: Window) -> Any:
        """The stream's own states over the matched windows, merged."""
        periods = {one.period for one in watch.reference(window).windows}
        return merged([one.state for one in self._baseline.windows(watch.judge.stream) if one.period in periods])

    # ------------------------------------------------------------------------------------------------------ embeddings
    def _vectors(self, watch: Watch, window: Window, now: Any, then: Any, facts: Facts) -> dict[str, Any]:
        _, space, _, version = names.parts_of(watch.judge.stream)
        rows = latest_vectors.latest(self._lake, space, version, "item")
        rows = rows.filter(pc.equal(pc.list_value_length(rows["vector"]), now.frame.dimension))
        ids = rows["entity_id"].to_pylist()
        if not ids:
            return _nameless(now, then)
        titles = facts.titles(ids)
        before, after = self._arrived(watch, window, ids)
        table = ItemTable(
            [titles[one] for one in ids], rows["vector"], {
                name: facts.of(rows["entity_id"], name).to_pylist() for name in ("category", "brand")},
            np.asarray(facts.of(rows["entity_id"], "price_minor").cast(pa.float64()).to_numpy(zero_copy_only=False)),
            before, after)
        found = explain(now, then, table, examples=EXAMPLES)
        plain = _plain(found)
        for one in plain["breakdowns"]:
            one["changes"] = one["changes"][:VALUES]
        return {"text": found.text(), **plain}

    def _arrived(self, watch: Watch, window: Window, ids: list[str]) -> tuple[Any, Any]:
        """How often each item's vector came in the matched windows and in this one; neither where either is gone."""
        stream, grid = watch.judge.stream, grid_of(self._config)
        own = self._baseline.about[stream].carried_from or stream
        held = [one.period for one in watch.reference(window).windows if one.period is not None]
        then = arrivals(self._lake, grid, own, held, ids)
        now = arrivals(self._lake, grid, stream, [window], ids)
        return (None, None) if then is None or now is None else (then, now)

    # ----------------------------------------------------------------------------------------------- ids and categories
    def _items(self, watch: Watch, window: Window, now: Items, then: Items, frame: Frame, facts: Facts,
               reader: Reader) -> dict[str, Any]:
        ids = list(frame.vocabulary.ids[:len(now.top) - 1])
        titles = facts.titles(ids) if frame.kind == "items" else {one: one for one in ids}
        parts: list[Part] = [
            ("cell", list(now.cells), now.popularity, then.popularity),
            ("item" if frame.kind == "items" else "value", [*(titles[one] for one in ids), OTHERS],
             np.append(now.top[:-1], now.top[-1] + now.new), np.append(then.top[:-1], then.top[-1] + then.new))]
        unknown = self._unknown(watch, window, frame, reader) if now.new > then.new / max(then.n, 1) * now.n else {}
        if frame.kind == "items":
            ends = [one.period.end for one in watch.reference(window).windows if one.period is not None]
            known = reader.catalogue.at(max(ends)) if unknown and ends else None
            parts += by_attribute(frame.vocabulary, now, then, facts, known, unknown)
        tables = [_breakdown(by, labels, current, reference) for by, labels, current, reference in parts]
        often = sorted(unknown, key=lambda one: -unknown[one])[:EXAMPLES]
        named = facts.titles(often) if frame.kind == "items" else {one: one for one in often}
        fresh = [{"id": one, "title": named[one], "rows": unknown[one]} for one in often]
        before = [titles[ids[k]] for k in np.argsort(-then.top[:-1], kind="stable")[:EXAMPLES] if then.top[k]]
        after = [titles[ids[k]] for k in np.argsort(-now.top[:-1], kind="stable")[:EXAMPLES] if now.top[k]]
        lines = [f"{now.n:,} rows against {then.n:,}"]
        for table in reversed(tables):
            lines.append(f"by {table['by']}: divergence {table['js']:.4f} nats, {table['noise']:.4f} expected")
            lines += [f"  {c['reference']:6.2%} -> {c['current']:6.2%} {c['part']:5.0%}  {c['name']}"
                      for c in table["changes"][:4]]
        if fresh:
            lines.append("new: " + "; ".join(f"{one['title']} ({one['rows']})" for one in fresh[:EXAMPLES]))
        cells = [vars(change) for change in cell_changes(now, then)[:VALUES]]
        return {"text": "\n".join(lines), "breakdowns": tables, "cells": cells, "new": fresh,
                "examples": {"before": before, "after": after}}

    def _unknown(self, watch: Watch, window: Window, frame: Frame, reader: Reader) -> dict[str, int]:
        """How often the window's rows have each id that the baseline did not know; of context fields only what several
        shoppers had."""
        counts: Counter[str] = Counter()
        texts: list[pa.Table] = []
        for rows in self._rows(watch, window, reader, served=False):
            if frame.kind == "items":
                found = pc.value_counts(rows["id"])
                counts.update({one: n for one, n in zip(found.field("values").to_pylist(),
                                                        found.field("counts").to_pylist(), strict=True) if one})
            else:
                known_to = pa.array(frame.vocabulary.ids, pa.string())
                texts.append(rows.select(["text", "user"]).filter(
                    pc.invert(pc.is_in(rows["text"], value_set=known_to))))
        if texts:
            counts.update(shared(pa.concat_tables(texts)))
        known = set(frame.vocabulary.ids)
        return {one: n for one, n in counts.items() if one not in known}

    def _rows(self, watch: Watch, window: Window, reader: Reader, *, served: bool) -> Iterator[pa.Table]:
        """The window's rows of a stream of requests, in pieces."""
        for day in Window(window.start, window.end).days():
            for bucket in range(self._lake.buckets):
                for piece in reader.rows(names.REQUESTS, Partition(day, bucket), {}, served=served):
                    if (rows := piece.get(watch.judge.stream)) is not None:
                        yield rows.filter(pc.equal(rows["start"], micros(window.start)))

    # --------------------------------------------------------------------------------------------------------- vectors
    def _skew(self, watch: Watch, window: Window, now: Buckets, then: Buckets, reader: Reader) -> dict[str, Any]:
        """Which versions met: the model's, and that of the items' newest vectors."""
        met: Counter[tuple[str, str | None]] = Counter()
        for rows in self._rows(watch, window, reader, served=True):
            for one in rows.group_by(["query", "item"]).aggregate([([], "count_all")]).to_pylist():
                met[one["query"], one["item"]] += one["count_all"]
        pairs = [{"model": model, "items": item, "rows": n} for (model, item), n in met.most_common(VALUES)]
        share = skew_share(now)
        lines = [f"newest vector of another version than the model's: {_percent(skew_share(then).value)} -> "
                 f"{_percent(share.value)} of {sum(n for (_, item), n in met.items() if item):,} recommended items"]
        gap = skew_clicks(reader, watch.judge.stream, window)
        lines.append(f"clicks per item of those minus clicks per item of the others, so far: {_gap(gap)}")
        lines += [f"  model {one['model']}, vectors {one['items'] or '(none)'}: {one['rows']:,}" for one in pairs]
        return {"text": "\n".join(lines), "share": share.to_dict(), "click_gap": gap.to_dict(),
                "versions": pairs}

    # --------------------------------------------------------------------------------------------------------- numbers
    def _numbers(self, now: Any, then: Any) -> dict[str, Any]:
        edges = now.edges[now.config["coarse"]]
        labels = [f"below {edges[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(edges)),
                  f"{edges[-1]:g} or more"]
        table = _breakdown("value", labels, now.coarse, then.coarse)
        means = {side: state.mean().to_dict() for side, state in (("reference", then), ("current", now))}
        lines = [f"mean {means['reference']['value']:.5g} -> {means['current']['value']:.5g}, {int(now.n):,} values "
                 f"against {int(then.n):,}"]
        lines += [f"  {c['reference']:6.2%} -> {c['current']:6.2%} {c['part']:5.0%}  {c['name']}"
                  for c in table["changes"][:5]]
        return {"text": "\n".join(lines), "means": means, "breakdowns": [table]}

    def _calibration(self, now: Any, then: Any) -> dict[str, Any]:
        sides = {side: {"observed_expected": state.observed_expected().to_dict(), "rate": state.rate().to_dict(),
                        "brier": state.brier().to_dict()}
                 for side, state in (("reference", then), ("current", now))}
        ratio, loss = ({side: told[name]["value"] for side, told in sides.items()}
                       for name in ("observed_expected", "brier"))
        bins = [{"from": low, "rows": int(n), "predicted": float(p / n), "observed": float(y / n)}
                for low, n, p, y in zip([0.0, *now.config["edges"]], now.rows.sum(axis=0), now.p.sum(axis=0),
                                        now.y.sum(axis=0), strict=True) if n]
        return {"text": f"clicks observed over expected: {ratio['reference']:.3g} -> {ratio['current']:.3g}; Brier "
                        f"loss {loss['reference']:.4g} -> {loss['current']:.4g}",
                **sides, "bins": bins}

    # ---------------------------------------------------------------------------------------------------------- risks
    def _risk(self, watch: Watch, now: Any, then: Any) -> dict[str, Any]:
        """The change of a share, as mix and change within the segments where a field tells them apart."""
        if not isinstance(watch.judge.of, Share):
            if watch.judge.monitor == "calibration":
                return self._calibration(now, then)
            state = watch.judge.of(now)
            before = watch.judge.of(then)
            if watch.judge.monitor == "vector_age":
                return {"text": f"newest vector older than {_days(now.config['high'])}: "
                                f"{before.mean('x').value:.1%} -> {state.mean('x').value:.1%} of {int(state.n):,} "
                                f"recommended items; the median was {_days(age_s(then).value)} old and is "
                                f"{_days(age_s(now).value)}"}
            if watch.judge.stream.startswith(f"{names.NDCG}/"):
                return {"text": f"mean NDCG of the clicks {before.mean('x').value:.4f} -> {state.mean('x').value:.4f} "
                                f"of {int(state.n):,} shoppers, 0 for a page without a click"}
            return {"text": f"missing {before.mean('x').value:.1%} -> {state.mean('x').value:.1%} of {int(state.n):,} "
                            "values"}
        what = watch.judge.of.what
        sides = [_segments(state, what) for state in (now, then)]
        rates = [sum(hits for _, hits in side.values()) / max(sum(n for n, _ in side.values()), 1) for side in sides]
        text = f"{what}: {rates[1]:.2%} -> {rates[0]:.2%} of requests"
        if len(sides[0] | sides[1]) < 2:
            return {"text": text, "current": rates[0], "reference": rates[1]}
        parts = decompose(*sides)
        lines = [text, f"  {parts.mix:+.2%} by the mix of {self._config.segment}, {parts.within:+.2%} within"]
        felt = [{**vars(one), "n": sides[0].get(one.segment, (0, 0))[0]} for one in parts.segments]
        lines += [f"  {one['segment']}: {_percent(one['reference_rate'])} -> {_percent(one['current_rate'])} of "
                  f"{one['n']:,}{' (few)' if one['n'] < LEAST else ''}" for one in felt]
        return {"text": "\n".join(lines), "current": rates[0], "reference": rates[1], "mix": parts.mix,
                "within": parts.within, "segments": felt}


def _nameless(now: Any, then: Any) -> dict[str, Any]:
    """Clusters by their numbers."""
    found = explain(now, then, ItemTable([], np.empty((0, now.frame.dimension), dtype=np.float32)))
    lines = [found.text().partition("\n")[0], "no items have a vector in this space: clusters by number"]
    lines += [f"  {one.reference:6.2%} -> {one.current:6.2%} {one.part:5.0%}  cluster {one.cluster}"
              for one in found.clusters]
    return {"text": "\n".join(lines), **_plain(found)}


def _plain(found: Explanation) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found.to_dict()))
    return plain


def _segments(state: Any, what: str) -> dict[str, tuple[int, float]]:
    """segment -> (requests, of which with something)."""
    shown: dict[str, int] = {}
    hits: dict[str, int] = {}
    for key, count in state.counts.items():
        kind, _, segment = key.partition("|")
        (shown if kind == names.SHOWN else hits if kind == what else {})[segment] = count
    return {one: (n, float(hits.get(one, 0))) for one, n in shown.items() if n}


def _breakdown(by: str, labels: Sequence[str], current: Any, reference: Any) -> dict[str, Any]:
    found = breakdown(by, labels, current, reference)
    return {"by": by, "js": found.js, "noise": found.noise,
            "changes": [vars(change) for change in found.changes if change.part > 0][:VALUES]}


def _days(seconds: float | None) -> str:
    return "older still" if seconds is None else f"{seconds / 86_400:.2g} days"


def _gap(gap: Estimate) -> str:
    """A difference of rates with its interval, or why there is none."""
    if gap.value is None:
        return f"missing ({gap.reason})"
    ends = "" if gap.low is None or gap.high is None else f" ({gap.low:+.2%} to {gap.high:+.2%})"
    return f"{gap.value:+.2%}{ends}, {gap.n:,} items"


def _percent(rate: float | None) -> str:
    return "none" if rate is None else f"{rate:.2%}"
