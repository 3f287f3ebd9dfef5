"""What a version skew costs in clicks: items shown with a vector of the model's version against those with another."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from incumbent.drift.skew import metric_gap, skew_update, skew_zero
from incumbent.events.window import Window
from incumbent.loop.drift import names
from incumbent.loop.drift import responses as drift_responses
from incumbent.loop.drift.shards import Reader
from incumbent.stats.buckets import bucket_of
from incumbent.stats.estimate import Estimate


def skew_clicks(reader: Reader, stream: str, window: Window) -> Estimate:
    """The clicks per shown item of a model where the item's newest vector was of another version, minus those where it
    was of the model's: of first pages of a window, clicks that the lake holds so far, clustered by user.

    An association: traffic decides which version a request meets. Missing with the reason where either kind was not
    shown.
    """
    _, surface, model = names.parts_of(stream)
    state = skew_zero()
    until = Window(window.start, window.end + reader.reach)
    for bucket in range(reader.lake.buckets):
        rows = reader.lake.scan("impression", Window(window.start, window.end), [bucket], drift_responses.COLUMNS)
        rows = rows.filter(pc.and_(pc.equal(rows["surface"], surface), pc.equal(rows["page"], 1)))
        outcomes = reader.lake.scan("outcome", until, [bucket], drift_responses.OUTCOME_COLUMNS)
        shown = drift_responses.of_slots(rows, drift_responses.clicks_of(outcomes, reader.waits))
        shown = shown.filter(pc.and_(pc.equal(shown["name"], model), pc.is_valid(shown["query"])))
        if shown.num_rows:
            query, ids = shown["query"].combine_chunks(), shown["item_id"].combine_chunks()
            asked = shown["request"].combine_chunks()
            users, times = rows["user_id"].take(asked).to_pylist(), rows["time"].take(asked).cast(pa.int64())
            item, _ = reader.vectors.newest(query, ids, times.to_numpy())
            state = skew_update(state, bucket_of(users, state.config["k"]), query.to_pylist(),
                                item.to_pylist(), np.asarray(shown["clicked"], dtype=np.float64))
    return metric_gap(state, unit="clicks/item")
