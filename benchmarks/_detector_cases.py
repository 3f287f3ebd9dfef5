"""The worlds of `detectors.py`: what a baseline is made of, how windows are drawn, and our detectors on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from incumbent.drift.alarm import embedding
from incumbent.drift.alarm_items import items
from incumbent.drift.detector import Detector, Reference
from incumbent.drift.stream import embedding_stream
from incumbent.stats.items import Items
from incumbent.stats.items_vocabulary import Vocabulary
from incumbent.stats.vectors import Vectors
from incumbent.testing.drift_detectors import always_fire, never_fire
from incumbent.testing.drift_shop import SHOP_FAULTS, Served, ShopWorld
from incumbent.testing.drift_worlds import FAULTS, EmbeddingWorld

ALPHA = 0.05


@dataclass(frozen=True)
class Setting:
    """A world and the windows that it is seen through; the frame is fitted on the first `fitted` windows, or on all."""

    day: float
    windows: int
    rows: int
    current: int
    fitted: int
    tail: str | None
    shop: bool = False

    @property
    def faults(self) -> list[str]:
        """The names of what can go wrong."""
        return list(SHOP_FAULTS if self.shop else FAULTS)


SETTINGS = {"rows": Setting(0.0, 40, 250, 1000, 8, "rows"), "days": Setting(1.0, 60, 2000, 2000, 0, None),
            "shop": Setting(1.0, 50, 1000, 1000, 10, None, shop=True), "trap": Setting(1.0, 40, 250, 1000, 8, "rows")}


@dataclass(frozen=True, eq=False)
class Window:
    """What was served, and the states of it."""

    vectors: NDArray[np.float64]
    state: Vectors
    ids: NDArray[np.int64] | None = None
    items: Items | None = None


#: whether it fires, its memory, and how near it was to firing: larger is nearer
Judge = Callable[[Window, Any], tuple[bool, Any, float]]


@dataclass(frozen=True, eq=False)
class Case:
    """One world: `draw(fault)` makes a window, `judges` say whether they fire, peers compare with `baseline`."""

    draw: Callable[[str | None], Window]
    judges: Mapping[str, Judge]
    baseline: dict[str, NDArray[Any]]


def case(setting: Setting, *seed: int) -> Case:
    """The world of a seed, its baseline drawn and our detectors calibrated on it."""
    return (_shop if setting.shop else _embedding)(setting, *seed)


def _embedding(setting: Setting, *seed: int) -> Case:
    world, rng = EmbeddingWorld.seeded(*seed, day=setting.day), np.random.default_rng([*seed, 1])
    baseline = [world.rows(rng, setting.rows) for _ in range(setting.windows)]
    zero = Vectors.fit(np.vstack(baseline[:setting.fitted] or baseline), seed=seed[-1])
    reference = Reference.of([zero.update(rows) for rows in baseline], fitted=setting.fitted)

    def draw(fault: str | None) -> Window:
        rows = world.window(rng, setting.current, fault)
        return Window(rows, zero.update(rows))

    judges = {"combined": _judge(embedding(alpha=ALPHA, tail=setting.tail), reference, setting)}  # type: ignore[arg-type]
    if setting.tail is None:
        judges["combined, over time"] = _judge(embedding_stream(alpha=ALPHA), reference, setting)
    return Case(draw, judges | _blind(reference, setting), {"vectors": np.vstack(baseline)})


def _shop(setting: Setting, *seed: int) -> Case:
    world, rng = ShopWorld.seeded(*seed, day=setting.day), np.random.default_rng([*seed, 1])
    baseline = [world.window(rng, setting.rows) for _ in range(setting.windows)]
    first = baseline[:setting.fitted]
    zero = Vectors.fit(np.vstack([served.vectors for served in first]), seed=seed[-1])
    catalogue = {f"item {i}": f"kind {kind}" for i, kind in enumerate(world.cluster.tolist())}
    vocabulary = Vocabulary.fit(Counter(name for served in first for name in served.names), catalogue)
    none = Items.over(vocabulary, top=len(catalogue))

    def seen(served: Served) -> Window:
        return Window(served.vectors, zero.update(served.vectors), served.ids,
                      none.update(*vocabulary.encode(served.names)))

    known = [seen(served) for served in baseline]
    vectors, ids = (Reference.of([getattr(one, field) for one in known], fitted=setting.fitted)
                    for field in ("state", "items"))
    by_vector = _judge(embedding(alpha=ALPHA / 2), vectors, setting)
    by_id = _judge(items(alpha=ALPHA / 2), ids, setting, "items")

    def either(window: Window, memory: Any) -> tuple[bool, Any, float]:
        one, other = by_vector(window, None), by_id(window, None)
        return one[0] or other[0], None, max(one[2], other[2])

    judges: dict[str, Judge] = {
        "combined": either,
        "  its vectors (2.5 %)": by_vector, "  its ids (2.5 %)": by_id}
    return Case(lambda fault: seen(world.window(rng, setting.current, fault)),
                judges | _blind(vectors, setting),
                {"vectors": np.vstack([served.vectors for served in baseline]),
                 "ids": np.concatenate([served.ids for served in baseline])})


def _judge(detector: Detector, reference: Reference, setting: Setting, field: str = "state") -> Judge:
    ready = detector.calibrate(reference, setting.current)

    def judge(window: Window, memory: Any) -> tuple[bool, Any, float]:
        said, memory = detector.step(getattr(window, field), ready, memory)
        assert said.status in ("ok", "drift"), said.reason
        near = -1.0 if said.p_value is None else -said.p_value + 1e-9 * min(said.score or 0.0, 1e6)  # ties by score
        return said.status == "drift", memory, near

    return judge


def _blind(reference: Reference, setting: Setting) -> dict[str, Judge]:
    return {one.name: _judge(one, reference, setting) for one in (always_fire(), never_fire())}
