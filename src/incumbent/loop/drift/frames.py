"""The frozen frame of a stream: what its rows are counted in, fitted on a part of the baseline, stored with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.drift.skew import skew_update, skew_zero
from incumbent.errors import DataError
from incumbent.loop.drift import names
from incumbent.loop.drift.facts import Facts
from incumbent.loop.drift.responses import POSITIONS, REST
from incumbent.stats.buckets import bucket_of
from incumbent.stats.counts import Counts
from incumbent.stats.delay import Delay
from incumbent.stats.items import Items
from incumbent.stats.items_vocabulary import Vocabulary
from incumbent.stats.log_histogram import LogHistogram
from incumbent.stats.moments import Moments
from incumbent.stats.numeric import Numeric
from incumbent.stats.reliability import Reliability
from incumbent.stats.vectors import Vectors

SEGMENTS = 20  # values of the segment's field, the most frequent
TOP = 1000  # ids that are counted one by one
MOST = 1e150  # a finite number as large, whose square is none, counts as not a number
AGED = 2.0  # times the oldest vector served while the frame was fitted: from there on a vector is old
YOUNG_S = 3600.0  # the oldest is taken for no younger
NUMERIC_SHARE = 0.95  # of the values of a context field that are numbers, for it to be one
KNOWN_USERS = 5  # who must have had a value for it to be kept in a baseline, and named: one shopper's own is neither
KNOWN_SHARE = 0.5  # of the requests that must have such a value, for the field to be no identifier


@dataclass(frozen=True, eq=False)
class Frame:
    """How one stream is counted: `kind` and its plain settings; `zero` and `add` make its states."""

    kind: str  # vectors, skew, ages, items, categories, numbers, calibration, response, delay, ndcg
    plain: Mapping[str, Any]

    @cached_property
    def data(self) -> bytes:
        """As it is stored."""
        return msgspec.json.encode({"kind": self.kind, **self.plain}, order="deterministic")

    @classmethod
    def of(cls, data: bytes) -> Frame:
        """The frame of its bytes."""
        plain: dict[str, Any] = msgspec.json.decode(data)
        return cls(plain.pop("kind"), plain)

    @cached_property
    def hash(self) -> str:
        """16 hex digits over kind and settings."""
        return hashlib.blake2b(self.data, digest_size=8).hexdigest()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The ids of a frame of items or categories."""
        return Vocabulary.of(self.plain["vocabulary"])

    @cached_property
    def zero(self) -> Any:
        """The state of no rows."""
        match self.kind:
            case "vectors":
                return Vectors.zero(**self.plain["config"])
            case "skew":
                return skew_zero()
            case "ages":
                return LogHistogram.zero(**self.plain["config"])
            case "items" | "categories":
                return Items.over(self.vocabulary, top=TOP)
            case "numbers":
                return Numeric.zero(**self.plain["config"])
            case "calibration":
                return Reliability.zero(**self.plain["config"])
            case names.NDCG:
                return Moments.zero()
            case "delay":
                return Delay.zero(ages=self.plain["ages"])
            case "response":
                return Counts.zero(keys=[f"{what}|{segment}" for segment in (*self.plain["segments"], REST)
                                         for what in (names.SHOWN, names.CLICKED, names.CONVERTED, names.FAILED)])
        raise DataError("a frame of unknown kind", got=self.kind)

    def state(self, rows: pa.Table, facts: Facts | None) -> Any:
        """The state of some rows, all of one window; `facts` are those of their time, for ids."""
        return _ADD[self.kind](self, rows, facts)


def fit(name: str, rows: pa.Table, facts: Facts, *, seed: int, ages: int) -> Frame:
    """The frame of a stream, fitted on rows of the baseline; `DataError` says why there can be none."""
    kind = names.parts_of(name)[0]
    if kind == "embeddings":
        return _fit_vectors(rows, seed)
    if kind in names.SERVED:
        return _fit_served(kind, rows)
    if kind == "items":
        return Frame("items", {"vocabulary": Vocabulary.fit(_counted(rows["id"]), facts.listed("category")).plain})
    if kind == "prices":
        money = _counted(rows["currency"])
        currency = max(money, key=lambda one: (money[one], one), default=None)
        return Frame("numbers", {"config": Numeric.fit(_money(rows, currency)).config, "currency": currency})
    if kind == "scores":
        return Frame("numbers", {"config": Numeric.fit(_sound(rows["number"])).config})
    if kind == "context":
        return _fit_field(rows)
    if kind == "calibration":
        return _fit_calibration(rows)
    if kind == "delay":
        return Frame("delay", {"ages": ages})
    if kind == names.NDCG:
        if not pc.sum(rows["ndcg"]).as_py():
            raise DataError("nobody clicked", got=f"{rows.num_rows} pages")
        return Frame(kind, {})
    segments = _counted(rows["segment"])
    often = sorted(segments, key=lambda one: (-segments[one], one))
    return Frame("response", {"segments": sorted(one for one in often[:SEGMENTS] if one != REST)})


def _fit_vectors(rows: pa.Table, seed: int) -> Frame:
    """As fine as the sample carries: twenty vectors or more a cell."""
    vectors = rows["vector"]
    sizes = _counted(pc.list_value_length(vectors).cast(pa.string()))
    dimension = max(sizes, key=lambda one: (sizes[one], one))
    kept = vectors.filter(pc.equal(pc.list_value_length(vectors), int(dimension)))
    cells = int(np.clip(len(kept) // 20, 4, 128))
    bins = int(np.clip(len(kept) // 20, 4, 32))
    return Frame("vectors", {"config": Vectors.fit(kept, seed=seed, centroids=cells, bins=bins, norm_bins=bins,
                                                   frequencies=64).config})


def _fit_served(kind: str, rows: pa.Table) -> Frame:
    """Ages are counted up to `AGED` times the oldest; what is beyond is old."""
    known = rows["item" if kind == "skew" else "number"].drop_null()
    if not len(known):
        raise DataError("no recommended item has a vector in the space of the version that its model says",
                        got=f"0 of {rows.num_rows}")
    if kind == "skew":
        return Frame("skew", {})
    oldest = max(float(pc.max(known).as_py()), YOUNG_S)
    return Frame("ages", {"config": {"accuracy": 0.01, "low": 1.0, "high": AGED * oldest}})


def _fit_field(rows: pa.Table) -> Frame:
    there = rows.num_rows - rows["text"].null_count
    if not there:
        raise DataError("no request has this field", got=f"0 of {rows.num_rows}")
    if (there - rows["number"].filter(pc.is_valid(rows["text"])).null_count) / there >= NUMERIC_SHARE:
        return Frame("numbers", {"config": Numeric.fit(_sound(rows["number"].drop_null())).config})
    counts = shared(rows)
    if sum(counts.values()) < KNOWN_SHARE * there:
        raise DataError("an identifier and no category", hint="leave it out of the context, or make it coarser",
                        got=f"{there - sum(counts.values())} of {there} requests with a value of fewer than "
                            f"{KNOWN_USERS} shoppers")
    return Frame("categories", {"vocabulary": Vocabulary.fit(counts).plain})


def shared(rows: pa.Table) -> dict[str, int]:
    """How often each text was there, of those that `KNOWN_USERS` shoppers or more had: nobody can be told by them."""
    found = rows.group_by("text").aggregate([("user", "count_distinct"), ("user", "count")])
    return {text: count for text, users, count in zip(*(found[name].to_pylist() for name in (
        "text", "user_count_distinct", "user_count")), strict=True) if text is not None and users >= KNOWN_USERS}


def _fit_calibration(rows: pa.Table) -> Frame:
    scores = np.asarray(rows["score"])
    scores = scores[np.isfinite(scores)]
    if len(scores) and (scores.min() < 0 or scores.max() > 1):
        raise DataError("the scores are no probabilities", got=f"{scores.min():g} to {scores.max():g}",
                        expected="in [0, 1]")
    return Frame("calibration", {"config": Reliability.fit(scores, bins=20, groups=POSITIONS).config})


def _vectors(frame: Frame, rows: pa.Table, facts: Facts | None) -> Any:
    here = pc.equal(pc.list_value_length(rows["vector"]), frame.zero.frame.dimension)
    return frame.zero.update(rows["vector"].filter(here))


def foreign(frame: Frame, rows: pa.Table) -> Counts:
    """Vectors of other dimensions than the frame's, by dimension."""
    sizes = pc.list_value_length(rows["vector"])
    other = sizes.filter(pc.not_equal(sizes, frame.zero.frame.dimension))
    found = _counted(other.cast(pa.string()))
    return Counts.zero().update(list(found), list(found.values()))


def _skew(frame: Frame, rows: pa.Table, facts: Facts | None) -> Any:
    zero = frame.zero
    query, item = (rows[name].to_numpy() for name in ("query", "item"))
    return skew_update(zero, bucket_of(rows["user"].to_pylist(), zero.config["k"]), query, item)


def _ages(frame: Frame, rows: pa.Table, facts: Facts | None) -> Any:
    return frame.zero.update(rows["number"].to_numpy())


def _items(frame: Frame, rows: pa.Table, facts: Facts | None) -> Any:
    """Unique ids are looked up once, whatever the rows."""
    column = "id" if frame.kind == "items" else "text"
    pairs = rows.group_by([column, "category"] if frame.kind == "items" else [column]).aggregate([([], "count_all")])
    delisted = facts.delisted if facts is not None and frame.kind == "items" else frozenset()
    kinds = pairs["category"].to_pylist() if frame.kind == "items" and frame.vocabulary.categories else None
    codes, categories = frame.vocabulary.encode(pairs[column].to_pylist(), kinds, delisted=delisted)
    times = np.asarray(pairs["count_all"])
    return frame.zero.update(np.repeat(codes, times), np.repeat(categories, times))


def _numbers(frame: Frame, rows: pa.Table, facts: Facts | None) -> Any:
    if "currency" in frame.plain:
        return frame.zero.update(_money(rows, frame.plain["currency"]))
    if "text" not in rows.column_names:
        return frame.zero.update(_sound(rows["number"]))
    odd = pc.and_(pc.is_null(rows["number"]), pc.is_valid(rows["text"]))  # text where numbers are expected
    return frame.zero.update(pc.if_else(odd, pa.scalar(float("nan")), _sound(rows["number"])))


def _sound(numbers: Any) -> Any:
    huge = pc.and_(pc.is_finite(numbers), pc.greater_equal(pc.abs(numbers), MOST))
    return pc.if_else(huge, pa.scalar(float("nan")), numbers)


def _calibrated(frame: Frame, rows: pa.Table, facts: Facts | None) -> Any:
    scores = np.asarray(rows["score"])
    sound = np.where((scores >= 0) & (scores <= 1), scores, np.nan)
    return frame.zero.update(sound, np.asarray(rows["label"]), np.asarray(rows["group"]))


def _response(frame: Frame, rows: pa.Table, facts: Facts | None) -> Any:
    known = pa.array([*frame.plain["segments"], REST], pa.string())
    segment = pc.if_else(pc.is_in(rows["segment"], value_set=known), rows["segment"], REST)
    told: dict[str, int] = {}
    for what, mask in ((names.SHOWN, None), (names.CLICKED, rows["clicked"]), (names.CONVERTED, rows["converted"]),
                       (names.FAILED, rows["failed"])):
        for one, count in _counted(segment if mask is None else segment.filter(mask)).items():
            told[f"{what}|{one}"] = count
    return frame.zero.update(list(told), list(told.values()))


def _ndcg(frame: Frame, rows: pa.Table, facts: Facts | None) -> Any:
    """A row per shopper: the mean over its pages."""
    found = rows.group_by("user").aggregate([("ndcg", "mean")])
    return frame.zero.update(np.asarray(found["ndcg_mean"]))


def _delays(frame: Frame, rows: pa.Table, facts: Facts | None) -> Any:
    """Everybody at the full age: `drift_judges.cohort` cuts it off at what could be seen by a moment."""
    late = np.asarray(rows["late"], dtype=np.float64)
    return frame.zero.update(np.full(len(late), float(frame.plain["ages"])), np.where(late > 0, late, np.nan))


def _money(rows: pa.Table, currency: str | None) -> pa.ChunkedArray:
    if currency is None:
        return rows["number"]
    return pc.if_else(pc.fill_null(pc.equal(rows["currency"], currency), False), rows["number"], None)


def _counted(column: Any) -> dict[str, int]:
    found = pc.value_counts(column)
    return {key: count for key, count in zip(found.field("values").to_pylist(), found.field("counts").to_pylist(),
                                             strict=True) if key is not None}


_ADD = {"vectors": _vectors, "skew": _skew, "ages": _ages, "items": _items, "categories": _items, "numbers": _numbers,
        "calibration": _calibrated, "response": _response, "delay": _delays, names.NDCG: _ndcg}
