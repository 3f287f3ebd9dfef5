"""The events: frozen, tagged, versioned. The tag of each struct is its `type`, and names its table in the lake.

Times are aware and in UTC; money is an integer in minor units of `currency`; positions and ranks start at 1 (the top).
Unknown fields are refused, so that a misspelt field is an error and not a silent loss.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

SCHEMA_VERSION = 1

Time: TypeAlias = Annotated[datetime, Meta(tz=True)]
EventId: TypeAlias = Annotated[str, Meta(min_length=36, max_length=36, description="UUIDv7")]
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
OptionalId: TypeAlias = Annotated[str, Meta(max_length=512)] | None
Currency: TypeAlias = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217")]
Position: TypeAlias = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Int64: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]  # what MessagePack and the lake can hold
Context: TypeAlias = dict[str, str | Int64 | float | bool | None]

Role: TypeAlias = Literal["champion", "candidate"]
Mode: TypeAlias = Literal["interleave", "split", "shadow", "champion", "fallback", "degraded"]
SlotKind: TypeAlias = Literal["pair", "half", "solo", "shared", "uncontested", "pinned", "filler"]
ModelStatus: TypeAlias = Literal["ok", "timeout", "error", "invalid", "open", "busy"]
Action: TypeAlias = Literal[
    "view", "click", "add_to_cart", "purchase", "dwell", "dismiss", "exclude", "refund"
]
Stage: TypeAlias = Literal["shadow", "canary", "ramp_5", "ramp_10", "ramp_25", "ramp_50", "promoted", "ended"]
Verdict: TypeAlias = Literal["promote", "hold", "discard", "roll_back", "inconclusive", "advance", "start"]


class Slot(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One shown item: who contributed it, why, and where each model had ranked it.

    Ten of them stand in a page: `gc=False`, since what holds text and numbers alone is in no cycle.
    """

    position: Position  # absolute in the whole ranking, over pages, pinned slots included
    item_id: Id
    kind: SlotKind
    owner: Role | None = None  # who contributed it; None for shared, pinned, filler
    pair_id: int | None = None  # the round of the competitive pair
    champion_rank: int | None = None
    candidate_rank: int | None = None
    propensity: float | None = None  # P(the owner contributes this slot | both lists), where the policy states it
    score: float | None = None  # of the owner's model
    group_id: str | None = None


class Retrieved(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One piece of context that a generating model was given: where it is from, and its text."""

    source: str  # a document, a review, an item of the catalogue
    text: str
    item_id: str | None = None


class ItemText(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a generating model wrote about one item."""

    item_id: str
    title: str | None = None
    explanation: str | None = None


class Generated(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The trace of a generating model: what it was given, what it looked up, and what it wrote."""

    input: str | None = None  # the prompt, as it went to the model
    retrieved: list[Retrieved] = []
    text: str | None = None  # about the whole page
    items: list[ItemText] = []
    model: str | None = None  # the language model behind it, with its version
    cut: int = 0  # letters and entries over the limits, which were left out


class ModelAnswer(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one model answered to one request, with its full list to the logged depth."""

    role: Role
    name: str
    version: str
    status: ModelStatus
    latency_ms: float
    n_items: int  # before truncation to the logged depth
    items: list[str] = []
    scores: list[float] | None = None
    embedding_version: str | None = None
    cost: float | None = None
    truncated: bool = False
    reason: str | None = None  # why it is not ok, or which defects were cleaned (duplicates=2)
    generated: Generated | None = None  # of a model that writes


class Impression(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="impression"):
    """One answered request (one page of one ranking): both full lists, all coins, and the slots shown."""

    event_id: EventId
    request_id: str  # signed; what feedback refers to
    ranking_id: str  # one per query or page load; pages of it share it, and the coins
    time: Time
    user_id: Id  # as logged: as given, or its keyed hash
    surface: Id
    mode: Mode
    lane: str  # holdout, interleave, ... of the plan; "none" without an experiment
    plan: str  # hash of the ServingPlan that made it
    slots: list[Slot]
    models: list[ModelAnswer]
    page: int = 1
    offset: int = 0  # organic slots shown before this page
    k: int = 0
    session_id: OptionalId = None
    experiment: str | None = None
    stage: Stage | None = None
    share: float | None = None
    policy: str | None = None
    salt: str | None = None
    coins: list[float] = []  # the words used so far, in order: coins[2r] and coins[2r + 1] belong to round r
    context: Context = {}
    reason: str | None = None  # of a fallback, a degraded answer, a changed page
    latency_ms: float | None = None
    schema: int = SCHEMA_VERSION


class Feedback(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="feedback"):
    """What a shopper did to one item."""

    event_id: EventId
    time: Time
    user_id: Id
    item_id: Id
    action: Action
    request_id: OptionalId = None
    session_id: OptionalId = None
    order_id: OptionalId = None
    line_id: OptionalId = None
    quantity: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    value_minor: Annotated[int, Meta(ge=0, le=10**13)] | None = None  # of the whole line
    currency: Currency | None = None
    seconds: Annotated[float, Meta(ge=0, le=10**7)] | None = None  # dwell
    refers_to: EventId | None = None  # a refund names its purchase
    context: Context = {}
    marks: list[str] = []  # set by the collector: unserved, no_request, bot, skewed ...
    received: Time | None = None  # set by the collector: when it came in
    schema: int = SCHEMA_VERSION


class Embedding(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="embedding"):
    """One vector of one entity in one version of one space; `vector` is a list, or base64 of little-endian float32."""

    event_id: EventId
    time: Time
    space: Id
    version: Id
    entity: Literal["item", "user", "query"]
    entity_id: Id
    vector: Annotated[list[float], Meta(min_length=1, max_length=8192)] | Annotated[str, Meta(max_length=65536)]
    received: Time | None = None
    schema: int = SCHEMA_VERSION


class Item(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="item"):
    """Catalogue facts of one item from `time` on."""

    event_id: EventId
    time: Time
    item_id: Id
    listed: bool = True
    title: Annotated[str, Meta(max_length=4096)] | None = None
    category: OptionalId = None
    brand: OptionalId = None
    price_minor: Annotated[int, Meta(ge=0, le=10**13)] | None = None
    currency: Currency | None = None
    group_id: OptionalId = None
    attributes: Context = {}  # whatever else metrics may be cut by: season, colour, margin class
    received: Time | None = None
    schema: int = SCHEMA_VERSION


class Measurement(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="measurement"):
    """A number that another system reports."""

    event_id: EventId
    time: Time
    name: Id
    value: float
    unit: Id
    labels: dict[str, str] = {}
    received: Time | None = None
    schema: int = SCHEMA_VERSION


class Finding(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="finding"):
    """A detector's or check's conclusion. Holds no user ids."""

    event_id: EventId
    time: Time
    subject: str  # experiment:NAME, surface:NAME, model:NAME ...
    check: str  # coin_audit, sample_ratio, guardrail:revenue ...
    status: Literal["ok", "drift", "breach", "void", "no_data", "invalid"]
    severity: Literal["info", "ticket", "page"]
    reason: str
    evidence: dict[str, Any] = {}
    schema: int = SCHEMA_VERSION


class Decision(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="decision"):
    """What was decided of an experiment, by which rule, on which evidence. Holds no user ids."""

    event_id: EventId
    time: Time
    experiment: str
    verdict: Verdict
    reason: str
    by: str  # "rule" or the person
    stage_from: Stage | None = None
    stage_to: Stage | None = None
    rule: str | None = None
    rule_hash: str | None = None
    evidence: dict[str, Any] = {}  # estimates, guardrails, checks, hashes of the seals they stand on
    schema: int = SCHEMA_VERSION


class Alert(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="alert"):
    """A conclusion that somebody is told."""

    event_id: EventId
    time: Time
    subject: str
    severity: Literal["info", "ticket", "page"]
    title: str
    body: str
    refers_to: EventId | None = None
    schema: int = SCHEMA_VERSION


class Audit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type", tag="audit"):
    """Who did what by hand, and why. A user is named by the hash of their id alone."""

    event_id: EventId
    time: Time
    actor: str
    action: str
    subject: str
    reason: Annotated[str, Meta(min_length=1)]
    details: dict[str, Any] = {}
    schema: int = SCHEMA_VERSION


Event: TypeAlias = (
    Impression | Feedback | Embedding | Item | Measurement | Finding | Decision | Alert | Audit
)
Conclusion: TypeAlias = Finding | Decision | Alert | Audit
#: what a collector takes from outside; an impression only with the signature of who drafted it. The rest only incumbent
#: itself writes
Incoming: TypeAlias = Feedback | Embedding | Item | Measurement | Impression
