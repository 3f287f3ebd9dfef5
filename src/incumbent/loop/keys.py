"""The keys under which rolled-up states stand in Control: stable, documented, and built here alone.

A key is a path: the measure, then what it is of, then ``name=value`` parts in a fixed order, so that
``range("guardrail/ranker/")`` finds all of one experiment. States of one key add over days and user buckets.

| key | state | what |
|---|---|---|
| ``requests/SURFACE`` | Counts | requests, by ``MODE/LANE`` |
| ``slots/SURFACE`` | Counts | slots shown, by ``KIND/OWNER`` (owner ``none`` where nobody contributed it) |
| ``shown/SURFACE`` | Buckets, `SHOWN` | requests and slots, by user bucket |
| ``answer_ms/SURFACE`` | LogHistogram | the gateway's own latency |
| ``status/SURFACE/model=M/role=R`` | Counts | what the model answered: ok, timeout, error, ... |
| ``latency_ms/SURFACE/model=M/role=R`` | LogHistogram | the model's latency, of every status |
| ``list_size/SURFACE/model=M/role=R`` | Counts | items per answer that was ok |
| ``engagement/SURFACE`` | Buckets, `ENGAGEMENT` | what shoppers did to what was shown, by user bucket |
| ``value/SURFACE/currency=C`` | Buckets, `VALUE` | minor units of what was shown and bought, less refunds |
| ``outcomes/SURFACE`` | Counts | credited outcomes and the reasons of the others, by ``ACTION/REASON`` |
| ``guardrail/EXPERIMENT/stage=S/lane=L`` | Buckets, `GUARDRAIL` | what users of the lane did and bought, by bucket |
| ``model/EXPERIMENT/stage=S/lane=L/role=R/model=M`` | Buckets, `MODEL` | the model's answers, by user bucket |
| ``slow/EXPERIMENT/stage=S/lane=L/role=R/model=M`` | Buckets, `SLOW` | the slow ones, where a guardrail asks for them |
"""

from __future__ import annotations

FAMILY = "rollup"
#: the measures whose states are of impressions alone, and add with them
OF_IMPRESSIONS = frozenset({
    "requests", "slots", "shown", "answer_ms", "status", "latency_ms", "list_size", "model", "slow"})
BUCKETS = 256  # user buckets of every Buckets state: sixteen in each of the lake's sixteen

#: rows are requests
SHOWN = ("requests", "slots")
#: rows mean nothing here: divide by `requests`. Outcomes are those whose exposure on this surface lies inside the
#: window, each event once, on the day of the event, also where the user made no request that day
ENGAGEMENT = ("requests", "slots", "views", "clicks", "carts", "purchases")
VALUE = ("value_minor",)
#: rows are user-days: a user who asked or bought in that stage and lane on that day. `conversions` is 1 where the user
#: bought something that day, `revenue` what was bought less refunds, in minor units of the experiment's currency,
#: whatever showed the item; `other_currency` counts purchases that are therefore not in it. Rows mean nothing in a
#: comparison: who comes is an outcome. Divide by the users of the lane, which the audit's book counts
GUARDRAIL = ("requests", "conversions", "revenue", "other_currency")
#: rows are answers of the model: 1 where the answer was not ok (timeouts included); 1 where it timed out; milliseconds
MODEL = ("errors", "timeouts", "latency_ms")
#: rows are answers of the model: 1 where it timed out or took longer than the `slow_ms` of the guardrail of that name
SLOW = ("over_p95", "over_p99")


def of_surface(measure: str, surface: str) -> str:
    """``measure/SURFACE``.

    >>> of_surface("requests", "home")
    'requests/home'
    """
    return f"{measure}/{surface}"


def of_model(measure: str, surface: str, model: str, role: str) -> str:
    """``measure/SURFACE/model=M/role=R``.

    >>> of_model("latency_ms", "home", "popular", "champion")
    'latency_ms/home/model=popular/role=champion'
    """
    return f"{measure}/{surface}/model={model}/role={role}"


def of_lane(measure: str, experiment: str, stage: str, lane: str, *rest: str) -> str:
    """``measure/EXPERIMENT/stage=S/lane=L``, with further parts behind it.

    >>> of_lane("guardrail", "ranker", "ramp_50", "holdout")
    'guardrail/ranker/stage=ramp_50/lane=holdout'
    """
    return "/".join([f"{measure}/{experiment}/stage={stage}/lane={lane}", *rest])


def parts(key: str) -> dict[str, str]:
    """The ``name=value`` parts of a key, with its `measure` and its `subject` (surface or experiment).

    >>> parts("guardrail/ranker/stage=ramp_50/lane=holdout")
    {'measure': 'guardrail', 'subject': 'ranker', 'stage': 'ramp_50', 'lane': 'holdout'}
    """
    measure, subject, *rest = key.split("/")
    return {"measure": measure, "subject": subject, **dict(part.split("=", 1) for part in rest)}
