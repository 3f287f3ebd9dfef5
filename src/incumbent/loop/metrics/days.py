"""What each user did in a day, as a whole or cut by an attribute: one row per user and value of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from incumbent.loop.metrics.rows import not_negative, one_array
from incumbent.metrics.metric import Batch

Labels = NDArray[np.int64]
_DONE = {"clicks": ("click",), "carts": ("add_to_cart",), "dismissals": ("dismiss", "exclude")}


def events_of(outcomes: pa.Table, told: pa.Table, surface: str, currency: str) -> pa.Table:
    """What was done to the items of a surface, each event once: order and seconds from the feedback, money of one currency.

    `value_minor` is what was bought, `refund_minor` what was given back, 0 of other actions. Null where nobody knows: a
    purchase or refund without a value or of another currency, a dwell without its seconds.
    """  # noqa: E501
    own = outcomes.filter(pc.and_(pc.equal(outcomes["surface"], surface), outcomes["placed"]))
    ids = own["event_id"].to_pylist()
    first = list({event: at for at, event in reversed(list(enumerate(ids)))}.values())
    own = own.take(pa.array(sorted(first), pa.int64()))
    more = told.select(["event_id", "order_id", "seconds"])
    at = pc.index_in(own["event_id"], one_array(more["event_id"]))
    ours = pc.fill_null(pc.equal(own["currency"], currency), False)
    value = pc.if_else(ours, own["value_minor"], pa.scalar(None, pa.int64()))
    bought, back, dwelt = (pc.equal(own["action"], one) for one in ("purchase", "refund", "dwell"))
    seconds = not_negative(one_array(more["seconds"])).take(at)
    return pa.table({
        "event_id": own["event_id"], "user_id": own["user_id"], "item_id": own["item_id"], "action": own["action"],
        "request_id": own["request_id"], "value_minor": pc.if_else(bought, not_negative(value), 0),
        "refund_minor": pc.if_else(back, pc.abs(value), 0),
        "seconds": pc.if_else(dwelt, seconds, pc.fill_null(seconds, 0.0)),
        "order": pc.coalesce(one_array(more["order_id"]).take(at), own["event_id"])})


def user_days(
    requests: Mapping[str, Any], slots: tuple[NDArray[np.int64], Labels], events: pa.Table, event_labels: Labels,
    size: int = 1,
) -> tuple[Batch, Labels]:
    """A row per user and label: requests, slots, sessions, clicks, carts, orders, money, dismissals, seconds.

    `requests`: user_id and session_id per request. `slots`: the request and the label of each slot; a request counts
    under every label that its slots have, or that it has itself where `requests` holds a ``label``. Labels are in
    [0, size), -1 is nowhere. Money and seconds of a row are NaN where one of its events has a null: the metrics leave
    such a row out and count it.
    """
    asked = one_array(requests["user_id"])
    coded = pa.concat_arrays([asked, one_array(events["user_id"])]).dictionary_encode()
    users = coded.indices.to_numpy().astype(np.int64)
    of_request, of_event = users[:len(asked)], users[len(asked):]
    owner, label = slots
    own = requests.get("label")
    pairs = np.unique(owner[label >= 0] * size + label[label >= 0]) if own is None else (
        np.arange(len(asked))[own >= 0] * size + own[own >= 0])
    request, request_label = pairs // size, pairs % size
    slot_label = label if own is None else own[owner]
    sessions = one_array(requests["session_id"]).dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)
    known = slot_label >= 0
    cells = {"requests": of_request[request] * size + request_label,
             "slots": (of_request[owner] * size + slot_label)[known]}
    session_cells = np.unique(np.stack([cells["requests"], sessions[request]]), axis=1)[0]
    here = event_labels >= 0
    event_cells = np.where(here, of_event * size + event_labels, -1)
    rows = np.unique(np.concatenate([cells["requests"], event_cells[here]]))

    def count(at: NDArray[np.int64], weights: Any = None) -> NDArray[np.float64]:
        return np.asarray(np.bincount(np.searchsorted(rows, at), weights, minlength=len(rows)), np.float64)

    columns: dict[str, Any] = {name: count(at) for name, at in cells.items()} | {"sessions": count(session_cells)}
    action = np.asarray(events["action"].to_pylist(), object)
    for name, actions in _DONE.items():
        columns[name] = count(event_cells[here & np.isin(action, actions)])
    bought = here & (action == "purchase")
    order = one_array(events["order"]).dictionary_encode().indices.to_numpy().astype(np.int64)
    columns["orders"] = count(np.unique(np.stack([event_cells[bought], order[bought]]), axis=1)[0])
    for name in ("value_minor", "refund_minor", "seconds"):
        values = np.asarray(events[name].cast(pa.float64()).to_numpy(), np.float64)
        columns[name] = count(event_cells[here], values[here])
    names = coded.dictionary.take(pa.array(rows // size))
    return Batch({"user_id": names, **columns}), rows % size
