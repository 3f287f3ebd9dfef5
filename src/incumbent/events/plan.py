"""ServingPlan: everything that a gateway needs to know to answer, immutable and named by its hash."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Literal

import msgspec
from msgspec import Struct

from incumbent.events.schema import Stage, Time


class PinnedSlot(Struct, frozen=True, omit_defaults=True):
    """An item at a fixed absolute position, in front of any model's opinion."""

    position: int
    item_id: str
    sponsored: bool = False


class ModelPlan(Struct, frozen=True, omit_defaults=True):
    """Which endpoint stands behind a model's name, and what it may cost."""

    name: str
    adapter: str  # registered name: callable, http, open_inference
    target: str  # module:function, or a URL
    version: str
    deadline_ms: int = 100
    concurrency: int = 64
    embedding_version: str | None = None
    cost_per_request: float | None = None
    local: bool = False  # an async callable that never blocks: runs on the gateway's own loop
    breaker_calls: int = 20  # the circuit breaker looks at the last so many calls
    breaker_failure_rate: float = 0.5  # and opens at this part of failures
    breaker_cool_down_s: float = 5.0  # then lets a probe through after this long, doubling while probes fail
    options: dict[str, str | int | float | bool] = {}


class ExperimentPlan(Struct, frozen=True, omit_defaults=True):
    """The part of an experiment that serving obeys."""

    name: str
    candidate: str  # model name
    salt: str
    stage: Stage
    share: float  # the candidate's part of the contested slots, in [0, 1]
    policy: str = "pair_draft"
    holdout: float = 0.1  # part of users that see the champion alone
    lane_share: float = 1.0  # part of the non-holdout users interleaved in this stage; the rest see the champion
    segment: dict[str, list[str]] = {}  # context key -> values that may enter the lane; empty = everyone
    coin: Literal["round", "list"] = "round"
    bots: dict[str, list[str]] = {}  # context key -> patterns of values that declare a robot, which is outside


class SurfacePlan(Struct, frozen=True, omit_defaults=True):
    """How one surface is served."""

    name: str
    champion: str
    experiment: ExperimentPlan | None = None
    k_max: int = 200
    depth: int = 200  # items asked of each model, and logged
    deadline_ms: int = 150
    fallback: list[str] = []  # static items for when both models fail
    filler: bool = False  # fill short answers from `fallback`, marked
    strict: bool = False  # a list with duplicates is invalid rather than cleaned
    pinned: list[PinnedSlot] = []


class ServingPlan(Struct, frozen=True, omit_defaults=True, dict=True):
    """The whole plan. Published in Control, its history kept for ever; an impression names it by hash.

    The hash is made once per object: over 200,000 groups it takes a third of a second, which no request may wait for.

    >>> a = ServingPlan(version=1, time=None, surfaces={}, models={})
    >>> b = ServingPlan(version=2, time=None, surfaces={}, models={})
    >>> a.hash == b.hash, len(a.hash)
    (True, 16)
    """

    version: int
    time: Time | None
    surfaces: dict[str, SurfacePlan]
    models: dict[str, ModelPlan]
    delisted: list[str] = []
    groups: dict[str, str] = {}  # item_id -> group_id of variants
    presentations: dict[str, str] = {}  # item_id -> hash of what a shopper sees; equal in one group = the same item

    @cached_property
    def hash(self) -> str:
        """16 hex digits of BLAKE2b over the content, without version and time: equal plans have equal hashes."""
        body = msgspec.json.encode(msgspec.structs.replace(self, version=0, time=None), order="sorted")
        return hashlib.blake2b(body, digest_size=8).hexdigest()

    def stamped(self, version: int, time: Time | None) -> ServingPlan:
        """This plan under another version and time, of which the hash is not made anew.

        >>> plan = ServingPlan(version=0, time=None, surfaces={}, models={})
        >>> plan.stamped(7, None).version, plan.stamped(7, None) == msgspec.structs.replace(plan, version=7)
        (7, True)
        """
        return msgspec.structs.replace(self, version=version, time=time).carrying(self.hash)

    def carrying(self, hash: str) -> ServingPlan:
        """This plan, told the hash that it was published under; returns itself."""
        vars(self)["hash"] = hash
        return self
