"""The sections of the configuration: every key, its type, its default and its limits. `config.Config` holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}$")]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_.\-]{0,252})$")]


class Part(BaseModel):
    """Base of every section: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Scope = Literal["serve", "events", "shop", "read", "operate"]


class ServiceConfig(Part):
    """How the service listens."""

    host: str = "127.0.0.1"  # address to listen on; 0.0.0.0 = all
    hosts: tuple[HostName, ...] = ()  # names that it answers to beside localhost and addresses, while there are no keys
    port: Annotated[int, Field(ge=0, le=65535)] = 8000  # 0 = a free one
    workers: Annotated[int, Field(ge=1, le=64)] = 1  # processes that answer requests and take events
    clock: Literal["system", "replay"] = "system"  # replay: a business clock that a route advances
    replay_start: AwareDatetime | None = None  # where the replay's clock begins
    secret_env: str = "INCUMBENT_SECRET"  # the variable that holds the signing secret; else a file in the directory
    keys: dict[str, Scope] = {}  # SHA-256 of an API key, 64 hex digits -> its scope; shop = serve and events
    log_level: Literal["debug", "info", "warning", "error"] = "info"  # from which severity on
    log_format: Literal["json", "text"] = "json"  # of the log on standard error
    drain_s: Annotated[float, Field(gt=0)] = 10.0  # how long a stop may take before it is forced


class StoresConfig(Part):
    """Where things are kept."""

    kind: str = "embedded"  # registered name of a store bundle: embedded, memory, or a plugin's
    directory: Path = Path("incumbent-data")  # everything that is kept lives under it
    durability: Literal["before_answer", "bounded"] = "bounded"  # is the impression on disk before the answer, or soon?
    max_delay_ms: Annotated[int, Field(ge=1, le=1000)] = 20  # of "bounded": how long an answered impression may wait
    buckets: Annotated[int, Field(ge=1, le=256)] = 16  # user buckets of the lake; fixed once there is data
    user_ids: Literal["as_given", "hashed"] = "as_given"  # how users are logged: as they come, or as keyed hashes
    retention_days: Annotated[int, Field(ge=1)] = 400  # how long the lake keeps a day
    quarantine_days: Annotated[int, Field(ge=1)] = 30  # how long refused messages are kept


class LoopConfig(Part):
    """How often the loop's verbs run, in seconds of the service's clock; under a replay clock, in seconds of ours."""

    seal_s: Annotated[float, Field(gt=0)] = 2.0  # from the inboxes into the lake
    live_s: Annotated[float, Field(gt=0)] = 2.0  # the page's provisional numbers
    attribute_s: Annotated[float, Field(gt=0)] = 600.0  # outcomes, matured units, states
    decide_s: Annotated[float, Field(gt=0)] = 600.0  # every experiment's rule
    act_s: Annotated[float, Field(gt=0)] = 1.0  # the outbox: plans, conclusions, alerts
    drift_s: Annotated[float, Field(gt=0)] = 600.0  # states of closed windows, and the judgement of drift
    compact_s: Annotated[float, Field(gt=0)] = 600.0  # merge small files, expire old days
    lease_s: Annotated[float, Field(gt=0)] = 30.0  # how long a job's lease lasts without renewal


class LimitsConfig(Part):
    """What is refused."""

    body_bytes: Annotated[int, Field(ge=1024)] = 4_194_304  # of one request
    batch_events: Annotated[int, Field(ge=1, le=100_000)] = 5_000  # of one POST /v1/events
    event_bytes: Annotated[int, Field(ge=256)] = 131_072  # of one event
    event_age_days: Annotated[int, Field(ge=1)] = 30  # older feedback is refused
    fact_age_days: Annotated[int, Field(ge=1, le=36_525)] = 3_653  # so of items, embeddings, measurements
    event_ahead_s: Annotated[float, Field(ge=0)] = 300.0  # events from further ahead are refused
    exclude_items: Annotated[int, Field(ge=0)] = 1_000  # of one request
    context_keys: Annotated[int, Field(ge=0)] = 64  # of one request or event
    # context key -> values, with * and ?, that declare a robot: it is no unit and earns no credit; {} counts robots in
    bots: dict[str, tuple[str, ...]] = {
        "bot": ("true",), "user_agent": ("*bot/*", "*crawler*", "*spider*", "*headlesschrome*")}


class ModelConfig(Part):
    """One model endpoint."""

    adapter: str = "callable"  # callable, http, open_inference, or a plugin's
    target: str  # module:function, or a URL
    version: str = "1"  # logged with every answer; change it with the model
    deadline_ms: Annotated[int, Field(ge=1, le=60_000)] = 100  # a later answer counts as a timeout
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 64  # requests under way at once; more: busy
    embedding_version: str | None = None  # of the space that its items come from
    cost_per_request: Annotated[float, Field(ge=0)] | None = None  # in any unit; logged
    local: bool = False  # an async callable that never blocks: runs on the gateway's own loop
    breaker_calls: Annotated[int, Field(ge=1, le=10_000)] = 20  # the circuit breaker looks at the last so many
    breaker_failure_rate: Annotated[float, Field(gt=0, le=1)] = 0.5  # and opens at this part of failures
    breaker_cool_down_s: Annotated[float, Field(gt=0)] = 5.0  # then a probe; doubles while probes fail
    options: dict[str, str | int | float | bool] = {}  # of the adapter


class PinnedConfig(Part):
    """An item at a fixed absolute position."""

    position: Annotated[int, Field(ge=1, le=10_000)]  # absolute, from 1
    item_id: str  # shown there whatever the models say
    sponsored: bool = False  # said so in the answer


class SurfaceConfig(Part):
    """One place that shows recommendations."""

    champion: str  # the model that serves it
    k_max: Annotated[int, Field(ge=1, le=1_000)] = 200  # most items of one page
    depth: Annotated[int, Field(ge=1, le=1_000)] = 200  # items asked of each model, and logged
    deadline_ms: Annotated[int, Field(ge=5, le=60_000)] = 150  # of a whole request
    fallback: tuple[str, ...] = ()  # items for when every model fails
    filler: bool = False  # fill short answers from fallback, marked
    strict: bool = False  # a list with duplicates is invalid rather than cleaned
    pinned: tuple[PinnedConfig, ...] = ()  # items at fixed positions; no position and no item twice


class StageConfig(Part):
    """One step of the ramp and what it takes to leave it."""

    stage: Literal["shadow", "canary", "ramp_5", "ramp_10", "ramp_25", "ramp_50"]  # the rung
    share: Share  # the candidate's part of the contested slots
    # part of the non-holdout users interleaved, at most the experiment's; not set: the experiment's; it never falls
    lane_share: Annotated[float, Field(gt=0, le=1)] | None = None
    min_units: Annotated[int, Field(ge=0)] = 100  # matured users first exposed in this stage; not asked in shadow
    min_answers: Annotated[int, Field(ge=0)] = 100  # requests that the candidate answered in this stage; shadow only
    min_days: Annotated[float, Field(ge=0)] = 1.0  # in this stage


#: every rung lets in shoppers who have not met the candidate yet, so that a shop where everybody is known from the
#: first day has some for each, and most of them for the rung that decides (docs/decide/verdicts.md)
DEFAULT_STAGES = (
    StageConfig(stage="shadow", share=0.0, lane_share=0.05, min_units=0),
    StageConfig(stage="canary", share=0.01, lane_share=0.05),
    StageConfig(stage="ramp_5", share=0.05, lane_share=0.10),
    StageConfig(stage="ramp_10", share=0.10, lane_share=0.20),
    StageConfig(stage="ramp_25", share=0.25, lane_share=0.50),
    StageConfig(stage="ramp_50", share=0.50, lane_share=1.0),
)


class GuardrailConfig(Part):
    """Something that must not get worse, compared in each stage by itself.

    Revenue and conversions, per user assigned and day of the stage: the interleave lane against the holdout; `margin`
    is relative to the holdout and applies to effect / share. Errors, timeouts and latency: candidate against champion
    on the same requests; `margin` is a part of the requests, in milliseconds for `latency_ms`. `latency_p95` and
    `latency_p99` are the parts of the answers that take longer than `slow_ms`.
    """

    # what must not get worse
    metric: Literal["revenue_per_user_day", "conversion_per_user_day", "error_rate", "timeout_rate", "latency_ms",
                    "latency_p95", "latency_p99"]
    margin: Annotated[float, Field(gt=0)]  # the loss that is tolerated
    required: bool = True  # PROMOTE needs it shown to be no worse than -margin
    hard_limit: float | None = None  # an SLO: the last day's rate or latency over it rolls back at once; not of a lane
    # latency_p95, latency_p99: what is slow; not set: the champion's own quantile of the 7 days before the start
    slow_ms: Annotated[float, Field(gt=0)] | None = None


DEFAULT_GUARDRAILS = (
    GuardrailConfig(metric="revenue_per_user_day", margin=0.05),
    GuardrailConfig(metric="error_rate", margin=0.01, hard_limit=0.2),
    GuardrailConfig(metric="latency_ms", margin=50.0, hard_limit=1000.0),
)


class ExperimentConfig(Part):
    """One candidate against the champion of one surface. Frozen when the experiment starts."""

    surface: str  # where it runs
    candidate: str  # the model that would replace the champion
    salt: str | None = None  # the experiment's name where it is not set
    policy: str = "pair_draft"  # how two lists become one; pair_draft, or a plugin's
    rule: str = "sequential"  # how evidence becomes a verdict; sequential, or a plugin's
    coin: Literal["round", "list"] = "round"  # a coin per pair, or one per list
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.1  # part of the users who see the champion alone
    lane_share: Annotated[float, Field(gt=0, le=1)] = 1.0  # part of the others who are interleaved at most
    segment: dict[str, tuple[str, ...]] = {}  # context key -> values of those who may be interleaved
    # which exposure has the credit of an action: impression, last_touch, first_touch, all_touch, share, or a plugin's
    attribution: str = "last_touch"
    skip_neutral: bool = False  # look past exposures that nobody owns
    attribution_window_days: Annotated[float, Field(gt=0, le=90)] = 7.0  # how far back an action looks
    maturity_window_days: Annotated[float, Field(gt=0, le=180)] = 7.0  # how long outcomes are waited for
    # what counts as an outcome, and how much
    actions: dict[Literal["view", "click", "add_to_cart", "purchase"], float] = {"purchase": 1.0}
    outcome: Literal["count", "value"] = "count"  # what a credited action weighs: 1, or its value in minor units
    currency: str | None = None  # of values, a code of ISO 4217; rows of other currencies are counted and left out
    cap: Annotated[float, Field(gt=0)] = 20.0  # |D| of a unit is winsorised here; declared before the start
    alpha: OpenShare = 0.05  # how often a candidate that is no better may be promoted
    tuning_units: Annotated[int, Field(ge=10)] = 2_000  # n*: where the confidence sequence is tightest
    # the smallest (wins - losses) / (wins + losses) of decided users worth a promotion; 0.01 is some 2 % more sold
    delta_min: Annotated[float, Field(ge=0, lt=1)] = 0.01
    min_units: Annotated[int, Field(ge=2)] = 500  # matured users first exposed at ramp_50 before a promotion
    min_look_units: Annotated[int, Field(ge=2)] = 100  # before the first look
    min_days: Annotated[float, Field(ge=0)] = 7.0  # before a verdict
    max_days: Annotated[float, Field(gt=0)] = 90.0  # then the champion is kept
    back_test_share: Share = 0.95  # share after promotion: 1 - it keeps testing the old champion
    stages: tuple[StageConfig, ...] = DEFAULT_STAGES  # the ramp
    guardrails: tuple[GuardrailConfig, ...] = DEFAULT_GUARDRAILS  # what must not get worse


class DriftEventConfig(Part):
    """A known cause: windows that touch [start, end) are not judged, or only against the same event before."""

    name: Annotated[str, Field(min_length=1, max_length=64)]  # sale, holiday, outage ...
    start: AwareDatetime  # from here on
    end: AwareDatetime  # up to here
    action: Literal["exclude", "match"] = "exclude"  # match: judged against events of the same name


DriftMonitor = Literal["embeddings", "skew", "vector_age", "items", "prices", "scores", "context", "calibration",
                       "missing", "response", "ndcg"]


class DriftMonitorConfig(Part):
    """One kind of stream that is watched; its part of the budget is dealt evenly over its streams."""

    on: bool = True  # is it watched?
    weight: Annotated[float, Field(gt=0)] = 1.0  # its part of the false alarms
    least_rows: Annotated[int, Field(ge=1)] = 30  # windows of fewer rows are no_data
    # auto: rank where the baseline carries it, else over_time; tail: p-values below the resolution, from a fitted tail
    method: Literal["auto", "rank", "over_time", "tail"] = "auto"


class DriftConfig(Part):
    """What is compared with what, and how many false alarms a month may come of it. Nothing is judged before a baseline
    stands: `incumbent baseline build`.
    """

    enabled: bool = True  # does the loop look for drift?
    window: Literal["hour", "day"] = "day"  # what is compared with the baseline's windows
    time_zone: str = "UTC"  # whose midnights begin days, and whose hours and weekdays match
    # which windows match: the finest cycle that the baseline carries, or one by name
    season: Literal["auto", "none", "hour_of_day", "day_of_week", "hour_of_week"] = "auto"
    false_alarms_per_month: Annotated[float, Field(gt=0)] = 1.0  # of all monitors together
    # alarms of one window: each monitor at its own alpha (bonferroni), or judged together, which may let more in
    multiplicity: Literal["bonferroni", "bh", "by", "e_bh"] = "bonferroni"
    least_windows: Annotated[int, Field(ge=12)] = 14  # with rows, of a baseline's stream
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1  # how much worse than the baseline a response may get, of it
    error_tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.01  # so of errors, in parts of the requests
    missing_tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.05  # so of missing values, in parts of the rows
    stale_tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.05  # so of items with a vector of another version, or old
    click_hours: Annotated[float, Field(gt=0, le=168)] = 24.0  # a click after that does not count; how long is waited
    conversion_days: Annotated[int, Field(ge=1, le=90)] = 7  # so of purchases, in days of 24 hours
    segment: str | None = None  # context field by which changes are told apart: who feels them, mix or within
    # ordinary ones in a row that end a drift; with another version's vectors alone, that end the watch of an old one
    recovery_windows: Annotated[int, Field(ge=1)] = 3
    keep_days: Annotated[int, Field(ge=7)] = 90  # how long states of windows are kept; baselines are kept for ever
    events: tuple[DriftEventConfig, ...] = ()  # the calendar of known causes
    monitors: dict[DriftMonitor, DriftMonitorConfig] = {}  # what is not named is watched with the defaults

    def monitor(self, name: DriftMonitor) -> DriftMonitorConfig:
        """The settings of one monitor."""
        return self.monitors.get(name, DriftMonitorConfig())
