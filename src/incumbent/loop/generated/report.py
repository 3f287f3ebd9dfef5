"""text_report: what generating models wrote, of each model on each surface, for the report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from incumbent.config import Config
from incumbent.events.window import Window
from incumbent.loop.generated.states import PREFIX, metrics_of
from incumbent.stats.estimate import Estimate
from incumbent.stores.store import Control


def lines(control: Control, config: Config, period: Window, states: Any) -> Iterator[
        tuple[str, str, list[tuple[str, Estimate]]]]:
    """Subject, title and estimates of every model that wrote; `states` sums what stands under a prefix."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for key, state in states(control, PREFIX, period).items():
        of, _, name = key.removeprefix(PREFIX).partition("/metric=")
        surface, model, role = of.split("/")
        found.setdefault((surface, model.removeprefix("model="), role.removeprefix("role=")), {})[name] = state
    metrics = {metric.name: metric for metric in metrics_of(config)} if found else {}
    for (surface, model, role), held in sorted(found.items()):
        yield (f"text:{surface}/{model}", f"what {model} ({role}) wrote on {surface}", [
            (name, metrics[name].estimate(state)) for name, state in sorted(held.items()) if name in metrics])
