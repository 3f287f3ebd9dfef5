"""The keys and bytes of measured metrics in Control: one row holds the states of all metrics of one cell.

A cell is a surface, a model in a role on it, or a value of an attribute: ``metric/SURFACE/model=M/role=R``,
``metric/SURFACE/by=country/is=DE`` (values percent-encoded). Family ``metric``: one row per cell, day and lake bucket.
Family ``metric_day``: the same, prefix ``metric_day/``, added up over buckets, for readers. The bytes are a list of
(metric name, registered state, its bytes) as MessagePack, deflated: most buckets of users are empty in one shard.
States are added by name, so that a metric whose settings change begins anew and takes no other with it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date
from typing import Any
from urllib.parse import quote, unquote

from msgspec import DecodeError, Struct, msgpack

from incumbent import registry
from incumbent.errors import StateError
from incumbent.stats.array_state import ArrayState
from incumbent.stores.store import StateRow

FAMILY, DAY_FAMILY = "metric", "metric_day"
STATE = "metrics"  # no single state: see `packed`
States = dict[str, Any]


class Cell(Struct, frozen=True, order=True):
    """What the states of one row are of: a surface, with a model and its role, or an attribute and its value.

    >>> Cell("home", model="new", role="candidate").key, Cell("home", by="country", value="D/E").key
    ('metric/home/model=new/role=candidate', 'metric/home/by=country/is=D%2FE')
    >>> Cell.of("metric_day/home/by=country/is=D%2FE")
    Cell(surface='home', model=None, role=None, by='country', value='D/E')
    """

    surface: str
    model: str | None = None
    role: str | None = None
    by: str | None = None
    value: str | None = None

    @property
    def key(self) -> str:
        return f"{FAMILY}/{self.path}"

    @property
    def day_key(self) -> str:
        return f"{DAY_FAMILY}/{self.path}"

    @property
    def path(self) -> str:
        parts = [self.surface]
        if self.model is not None:
            parts += [f"model={quote(self.model, safe='')}", f"role={self.role}"]
        if self.by is not None:
            parts += [f"by={self.by}", f"is={quote(self.value or '', safe='')}"]
        return "/".join(parts)

    @classmethod
    def of(cls, key: str) -> Cell:
        """The cell of a key of either family."""
        _, surface, *rest = key.split("/")
        named = {name: unquote(value) for name, value in (part.split("=", 1) for part in rest)}
        return cls(surface, named.get("model"), named.get("role"), named.get("by"), named.get("is"))


def packed(key: str, day: date, bucket: int, states: Mapping[str, Any]) -> StateRow:
    """The row of a cell's states."""
    parts = [(name, states[name].name, states[name].to_bytes()) for name in sorted(states)]
    names = hashlib.blake2b("\n".join(f"{name}={state}" for name, state, _ in parts).encode(), digest_size=8)
    return StateRow(key, day, bucket, STATE, names.hexdigest(), zlib.compress(msgpack.encode(parts), 3))


def unpacked(row: StateRow) -> States:
    """Metric name -> state; `StateError` for bytes of anything else."""
    try:
        parts = msgpack.decode(zlib.decompress(row.data), type=list[tuple[str, str, bytes]])
    except (zlib.error, DecodeError) as error:
        raise StateError("bytes are not those of measured metrics", got=row.data[:24], field=row.key,
                         hint=str(error)) from None
    return {name: registry.load("states", state).from_bytes(data) for name, state, data in parts}


def add(total: States, more: Mapping[str, Any]) -> None:
    """Add states by name; one of other settings takes the place of what was added so far, since it is the later one."""
    for name, state in more.items():
        try:
            total[name] = total[name].merge(state) if name in total else state
        except StateError:
            total[name] = state


def total(parts: Iterable[Mapping[str, Any]]) -> States:
    """All of them added up as `add` does, in order; states that can be summed at once are."""
    runs: dict[str, list[Any]] = {}
    for states in parts:
        for name, state in states.items():
            runs.setdefault(name, []).append(state)
    return {name: run[0] if len(run) == 1 else _summed(name, run) for name, run in runs.items()}


def _summed(name: str, run: list[Any]) -> Any:
    if isinstance(run[0], ArrayState):
        with suppress(StateError):
            return type(run[0]).merged(run)
    out: States = {}
    for state in run:
        add(out, {name: state})
    return out[name]
