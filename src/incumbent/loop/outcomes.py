"""From feedback and impressions to outcome rows: who is credited with what, and why not.

Feedback is attributed once per group of exposures (a surface and an experiment, or none), each by its own terms. What
is not credited has one row that says why, so that nothing is lost without a count:

| reason | it means |
|---|---|
| ``no_exposure`` | the item was not shown to this user on the days that were looked at |
| ``before_exposure`` | it was first shown later that day |
| ``outside_window`` | it was shown, but longer ago than the attribution window |
| ``neutral`` | the exposure that took the touch belongs to no team (shared, solo, pinned, holdout, ...) |
| ``not_named`` | attribution is ``impression`` and the feedback names none |
| ``other_request`` | the feedback names a request, and this exposure is of another ranking: not its own |
| ``foreign_user`` | the request that it names was served to somebody else: never credited; its money is its user's |
| ``unserved``, ``forged``, ``bot`` | the collector marked it: never credited, never counted as money |
| ``no_purchase`` | a refund whose purchase is not there |
| ``late_refund`` | a refund longer after the exposure than the attribution window |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent import registry
from incumbent.experiments.credit import BARRED, COMPETITIVE, Credit, CreditTerms, Touches
from incumbent.loop import refunds, relations
from incumbent.loop.credited import CREDIT_SCHEMA, EXPOSURE, TermsOf, without_exposure
from incumbent.loop.nearby import Wanted, nearby
from incumbent.loop.relations import DAY_US, Engine

IMPRESSION_COLUMNS = ["request_id", "ranking_id", "time", "user_id", "surface", "experiment", "stage", "lane", "slots"]
FEEDBACK_COLUMNS = ["event_id", "time", "user_id", "item_id", "action", "request_id", "order_id", "line_id", "quantity",
                    "value_minor", "currency", "refers_to", "marks"]
_WHERE = ("request_id", "exposed_us", "stage", "lane", "kind", "owner", "pair_id", "position")


#: of feedback (`row`, `time`, `user_id`, `request_id`) that names no request of its own user, the rows that are foreign
Foreign = Callable[[pa.Table], list[int]]


def outcome_rows(
    feedback: pa.Table, impressions: Iterable[pa.Table], terms: TermsOf, engine: Engine, reach_days: int,
    foreign: Foreign | None = None,
) -> pa.Table:
    """The outcome rows of feedback, in a fixed order (time, event id, group, exposure).

    `feedback` has `FEEDBACK_COLUMNS` and must hold, beside what is asked for, the purchases of its refunds;
    `impressions` are tables of `IMPRESSION_COLUMNS`, in pieces of any size. `reach_days` UTC days before the day of a
    feedback are looked at, and that day, so that a row depends on nothing else that happens to be at hand. `foreign`
    knows the requests of other users; without it nothing is found to be theirs.
    """
    events = relations.plain(feedback.select(FEEDBACK_COLUMNS)).append_column(
        "row", pa.array(np.arange(feedback.num_rows)))
    events = events.set_column(events.schema.get_field_index("request_id"), "request_id", pc.if_else(
        pc.equal(events["request_id"], ""), None, events["request_id"]))
    marks = barred(events["marks"])
    refund = pc.equal(events["action"], "refund").to_numpy(zero_copy_only=False)
    usual = np.flatnonzero(pc.is_null(marks).to_numpy(zero_copy_only=False) & ~refund)
    asked = events.take(pa.array(usual)).select(["row", "time", "user_id", "item_id", "request_id"])
    asked = asked.rename_columns(["row", "time", "user_id", "item_id", "named_request"])
    own = Own(events)
    found = [engine.collect(relations.touches(engine.frame(asked), engine.frame(relations.plain(piece)), reach_days))
             for piece in (gathered(own.seen(impressions), asked) if asked.num_rows else ())]
    touched = own.continued(relations.concat(found, _TOUCHED), reach_days)
    theirs = pa.array(foreign(left) if foreign is not None and (left := own.left(marks)).num_rows else [], pa.int64())
    if len(theirs):
        marks = pc.if_else(pc.is_in(events["row"], theirs), "foreign_user", marks)
        events = events.set_column(events.schema.get_field_index("marks"), "marks", _listed(marks, events["marks"]))
        touched = touched.filter(pc.invert(pc.is_in(touched["row"], theirs)))
        usual = np.setdiff1d(usual, theirs.to_numpy())
    credited = credit_rows(touched, terms)
    missed = np.setdiff1d(usual, credited["row"].to_numpy())
    banned = np.flatnonzero(pc.is_valid(marks).to_numpy(zero_copy_only=False))
    parts = [credited, without_exposure(missed, "no_exposure"),
             without_exposure(banned, marks.take(pa.array(banned)))]
    settled = pa.concat_tables(parts)
    given_back, takes = refunds.credit(events, settled, terms, reach_days)
    return _assemble(events, pa.concat_tables([settled, given_back]), takes)


class Own:
    """Which of the requests that feedback names were served to its own user, and what they continue, learnt from
    impressions as they pass."""

    def __init__(self, events: pa.Table) -> None:
        self._named = events.select(["row", "time", "user_id", "request_id"]).filter(pc.is_valid(events["request_id"]))
        self._names = pc.unique(self._named["request_id"])
        self._known: dict[tuple[str, str], tuple[str, int]] = {}  # request and user -> ranking and time
        self._user = events["user_id"]

    def seen(self, pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The pieces, each noted as it passes."""
        for piece in pieces:
            rows = relations.plain(piece.select(["request_id", "user_id", "ranking_id", "time"]).filter(
                pc.is_in(piece["request_id"], self._names)))
            names = zip(*(rows[name].to_pylist() for name in ("request_id", "user_id")), strict=True)
            self._known.update(zip(names, zip(
                *(rows[name].to_pylist() for name in ("ranking_id", "time")), strict=True), strict=True))
            yield piece

    def continued(self, touched: pa.Table, reach_days: int) -> pa.Table:
        """The touches, with the page that showed the item in the place of another page of its ranking that was named.

        A ranking is one answer, however many pages it has: where the named request did not show the item, the latest
        request of the same ranking that had shown it by then counts as named.
        """
        named, exact = touched["named_request"], pc.equal(touched["named_request"], touched["request_id"])
        shown = pc.unique(touched["row"].filter(pc.fill_null(exact, False)))
        open_ = pc.and_(pc.is_valid(named), pc.invert(pc.is_in(touched["row"], shown)))
        open_ = pc.and_(open_, pc.less_equal(touched["exposed_us"], touched["time"]))
        rows = touched.select(["row", "time", "named_request", "ranking_id", "exposed_us", "request_id"]).filter(open_)
        pages: dict[int, tuple[int, str]] = {}
        for row, time, name, ranking, exposed, request in zip(*(c.to_pylist() for c in rows.columns), strict=True):
            own, at = self._known.get((name, self._user[row].as_py()), (None, 0))
            near = -reach_days * DAY_US <= at - time // DAY_US * DAY_US < DAY_US
            if own == ranking and near:
                pages[row] = max(pages.get(row, (exposed, request)), (exposed, request))
        if not pages:
            return touched
        whose = [pages[row][1] if row in pages else name for row, name in zip(
            touched["row"].to_pylist(), named.to_pylist(), strict=True)]
        at = touched.schema.get_field_index("named_request")
        return touched.set_column(at, "named_request", pa.array(whose, pa.string()))

    def left(self, marks: pa.ChunkedArray) -> pa.Table:
        """The feedback that names none of its own, but for what is barred already."""
        open_rows = np.flatnonzero(pc.is_null(marks).to_numpy(zero_copy_only=False))
        pairs = zip(self._named["request_id"].to_pylist(), self._named["user_id"].to_pylist(), strict=True)
        strange = pa.array([pair not in self._known for pair in pairs], pa.bool_())
        return self._named.filter(pc.and_(strange, pc.is_in(self._named["row"], pa.array(open_rows))))


def gathered(pieces: Iterable[pa.Table], asked: pa.Table, rows: int = 500_000) -> Iterator[pa.Table]:
    """What is near the feedback of each piece, small ones put together: a query has a price of its own."""
    wanted = Wanted(asked["user_id"], asked["item_id"])
    held: list[pa.Table] = []
    for piece in pieces:
        close = nearby(piece, wanted)
        held += [close] if close.num_rows else []
        if sum(part.num_rows for part in held) >= rows:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


_TOUCHED = pa.schema([
    ("row", pa.int64()), ("time", pa.int64()), ("named_request", pa.string()), ("request_id", pa.string()),
    ("ranking_id", pa.string()),
    ("exposed_us", pa.int64()), ("surface", pa.string()), ("experiment", pa.string()), ("stage", pa.string()),
    ("lane", pa.string()), ("item_id", pa.string()), ("position", pa.int64()), ("kind", pa.string()),
    ("owner", pa.string()), ("pair_id", pa.int64()),
])


def barred(marks: pa.ChunkedArray) -> pa.Array:
    """Per feedback the gravest of its marks that bar it from credit, null where there is none."""
    if not pc.any(pc.greater(pc.fill_null(pc.list_value_length(marks), 0), 0)).as_py():
        return pa.nulls(len(marks), pa.string())
    return pa.array([next((mark for mark in BARRED if mark in (given or ())), None)
                     for given in marks.to_pylist()], pa.string())


def _listed(marks: pa.ChunkedArray, given: pa.ChunkedArray) -> pa.Array:
    """The marks of each feedback, with the one that was found put before them."""
    return pa.array([[*([mark] if mark is not None else []), *(own or [])] for mark, own in zip(
        marks.to_pylist(), given.to_pylist(), strict=True)], pa.list_(pa.string()))


def credit_rows(touched: pa.Table, terms: TermsOf) -> pa.Table:
    """The credited exposures of each feedback and group, or one row with the reason where none is.

    Feedback that names a request belongs to that request (`Own.continued`: to its ranking); only feedback that names
    none is matched by touch.
    """
    order = [(name, "ascending") for name in ("row", "surface", "experiment", "exposed_us", "request_id", "position")]
    touched = touched.sort_by(order)
    group, rules = _groups(touched, terms)
    row = touched["row"].to_numpy()
    segment = np.cumsum(np.concatenate([[False], (np.diff(row) != 0) | (np.diff(group) != 0)])[:len(row)])
    exposed, time = touched["exposed_us"].to_numpy(), touched["time"].to_numpy()
    window = np.array([round(rule.window_days * DAY_US) for rule in rules], np.int64)[group]
    inside = (exposed <= time) & (exposed >= time - window)
    competitive = pc.is_in(touched["kind"], pa.array(COMPETITIVE)).to_numpy(zero_copy_only=False)
    other = pc.fill_null(pc.not_equal(touched["request_id"], touched["named_request"]), False).to_numpy(
        zero_copy_only=False)
    named = pc.is_valid(touched["named_request"]).to_numpy(zero_copy_only=False) & ~other & inside
    weight = _weights(segment, group, rules, inside & ~other, competitive, named)
    chosen, reason, place = _choose(segment, group, rules, inside, exposed > time, other, named, weight)
    own = np.isin(segment[chosen], segment[named])
    rule = np.where(own, "impression", np.array([rule.attribution for rule in rules], object)[group[chosen]])
    return _take(touched, chosen, place, weight[chosen], rule, reason)


def _groups(touched: pa.Table, terms: TermsOf) -> tuple[NDArray[np.int64], list[CreditTerms]]:
    """The group of each touch as a code, and the terms of each code."""
    surface = touched["surface"].combine_chunks().dictionary_encode()
    experiment = touched["experiment"].combine_chunks().dictionary_encode()
    inner = pc.fill_null(experiment.indices, len(experiment.dictionary)).to_numpy().astype(np.int64)
    pairs = surface.indices.to_numpy().astype(np.int64) * (len(experiment.dictionary) + 1) + inner
    codes, group = np.unique(pairs, return_inverse=True)
    surfaces, experiments = surface.dictionary.to_pylist(), [*experiment.dictionary.to_pylist(), None]
    return group.astype(np.int64), [terms(surfaces[code // len(experiments)], experiments[code % len(experiments)])
                                    for code in codes.tolist()]


def _weights(
    segment: NDArray[np.int64], group: NDArray[np.int64], rules: list[CreditTerms], inside: NDArray[np.bool_],
    competitive: NDArray[np.bool_], named: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Each group's kernel over its own touches."""
    weight = np.zeros(len(segment))
    for kind in {(rule.attribution, rule.skip_neutral) for rule in rules}:
        ours = np.array([(rule.attribution, rule.skip_neutral) == kind for rule in rules])[group] & inside
        kernel: Credit = registry.load("credits", kind[0])
        weight[ours] = kernel(Touches.of(segment[ours], competitive[ours], named[ours]), skip_neutral=kind[1])
    return weight


def _choose(
    segment: NDArray[np.int64], group: NDArray[np.int64], rules: list[CreditTerms], inside: NDArray[np.bool_],
    ahead: NDArray[np.bool_], other: NDArray[np.bool_], named: NDArray[np.bool_], weight: NDArray[np.float64],
) -> tuple[NDArray[np.intp], NDArray[np.object_], NDArray[np.bool_]]:
    """Which touches make rows, with their reasons, and whether the row names the exposure itself.

    All credited ones; of a segment without credit the exposure that its feedback names, else the last that lies inside
    its window, else any one, which then stands for its group alone.
    """
    size = int(segment[-1]) + 1 if len(segment) else 0
    empty = ~np.isin(np.arange(size), segment[weight > 0])
    best = np.full(size, -1, np.intp)
    for mask in (ahead & other, ~ahead & ~inside & other, inside & other,  # the later overwrite the earlier
                 ahead & ~other, ~ahead & ~inside & ~other, inside & ~other):
        best[segment[mask]] = np.flatnonzero(mask)
    stand = best[empty]
    not_named = np.array([rule.attribution == "impression" for rule in rules], bool)[group[stand]] & ~named[stand]
    why = np.where(other[stand], "other_request", np.where(ahead[stand], "before_exposure", np.where(
        ~inside[stand], "outside_window", np.where(not_named, "not_named", "neutral")))).astype(object)
    credited = np.flatnonzero(weight > 0)
    reason = np.concatenate([np.full(len(credited), None, object), why])
    place = np.concatenate([np.ones(len(credited), bool), inside[stand] & ~other[stand]])
    return np.concatenate([credited, stand]), reason, place


def _take(
    touched: pa.Table, chosen: NDArray[np.intp], place: NDArray[np.bool_], share: NDArray[np.float64],
    rule: NDArray[np.object_], reason: NDArray[np.object_],
) -> pa.Table:
    rows = touched.select(["row", *EXPOSURE]).take(pa.array(chosen))
    mask = pa.array(place)
    columns = {name: pc.if_else(mask, rows[name], None) if name in _WHERE else rows[name] for name in rows.column_names}
    columns |= {"share": pa.array(share), "rule": pa.array(rule, pa.string()), "reason": pa.array(reason, pa.string())}
    return pa.table([columns[name] for name in CREDIT_SCHEMA.names], schema=CREDIT_SCHEMA)


def _assemble(events: pa.Table, credited: pa.Table, takes: refunds.Takes) -> pa.Table:
    """Outcome rows without their partition, in a fixed order."""
    own = events.take(credited["row"])
    weight, quantity, value, currency = takes.columns(own, credited["row"].to_numpy())
    share = credited["share"].to_numpy()
    candidate = pc.fill_null(pc.equal(credited["owner"], "candidate"), False).to_numpy(zero_copy_only=False)
    champion = pc.fill_null(pc.equal(credited["owner"], "champion"), False).to_numpy(zero_copy_only=False)
    columns = {
        **{name: own[name] for name in ("event_id", "user_id", "item_id", "action")},
        **{name: credited[name] for name in (*EXPOSURE[2:], "request_id", "rule", "reason")},
        "time": _time(own["time"]), "exposed_at": _time(credited["exposed_us"]),
        "quantity": quantity, "value_minor": value, "currency": currency, "weight": weight,
        "credit_champion": pa.array(np.where(champion, share, 0.0)),
        "credit_candidate": pa.array(np.where(candidate, share, 0.0)),
    }
    order = ("time", "event_id", "surface", "experiment", "exposed_at", "request_id", "position")
    return pa.table(columns).sort_by([(name, "ascending") for name in order])


def _time(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.timestamp("us", tz="UTC"))
