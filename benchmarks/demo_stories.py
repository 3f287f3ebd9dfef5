"""How often each story of the demo comes out how, over many seeds: the table of docs/demo.md.

In one process and without HTTP, so that a seed takes seconds: the demo's own data, models, shoppers and settings; the
gateway's own lane assignment and pair draft; the judge's own comparison, guardrails, overlap and rule, asked once per
model day. What stands in for the service here is credit by last touch, kept in dictionaries while the trips go by.
Error and latency guardrails and the coin audit have nothing to find in a process that cannot fail, and are set to ok.

    python benchmarks/demo_stories.py --seeds 20 --first 31001
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from msgspec import Struct

from incumbent.config import ExperimentConfig
from incumbent.demo.data import SPLIT, Journey, load
from incumbent.demo.lists import Lists
from incumbent.demo.settings import LIST_ITEMS, WINDOW_DAYS, Size, experiment, refused
from incumbent.demo.shoppers import Shoppers, Trip, enrol
from incumbent.demo.story import STORIES, Story, cast
from incumbent.events.plan import ExperimentPlan
from incumbent.experiments import analysis, guardrails
from incumbent.experiments.assignment import assign
from incumbent.experiments.evidence import Answers, Check, Evidence, Judgement, Reading
from incumbent.experiments.experiment import after, judged_in, share_of
from incumbent.experiments.lists import Ranked, ranked
from incumbent.experiments.pair_draft import PairDraft
from incumbent.experiments.rules import Sequential
from incumbent.stats.buckets import Buckets, bucket_of
from incumbent.stats.estimate import Estimate

WINDOW = timedelta(days=WINDOW_DAYS)
BUCKETS = 256
SOURCE = guardrails.SOURCES["revenue_per_user_day"]
OUTCOMES = ("promote", "discard", "roll_back", "inconclusive", "hold")


class Unit(Struct):
    """A household in a lane, from its first exposure on."""

    unit: str
    lane: str
    stage: str
    exposed_at: datetime
    matured_at: datetime
    x: float = 0.0
    y: float = 0.0
    n: float = 0.0


@dataclass(frozen=True)
class Result:
    """How one run came out."""

    story: Story
    seed: int
    judgement: Judgement
    stage: str
    day: int
    preference: Estimate
    trips: int


class Served:
    """The models' lists, ready to be drafted from."""

    def __init__(self, lists: Lists) -> None:
        self._keys = lists.keys
        self._ranked = {key: ranked([item for item, _ in pairs]) for key, pairs in lists.lists.items()}

    def of(self, trip: Trip) -> Ranked:
        for parts in self._keys:
            key = "|".join(trip.household if part == "user" else trip.context[part] for part in parts)
            if key in self._ranked:
                return self._ranked[key]
        raise KeyError(trip)


class World:
    """One run: the trips go by, credit is given, and once a day the rule is asked."""

    def __init__(self, story: Story, seed: int, size: Size, journey: Journey) -> None:
        past = journey.lines.before(SPLIT)
        champion, candidate = cast(story, past, seed)
        self.story, self.seed, self.size = story, seed, size
        self.config: ExperimentConfig = experiment(story, seed, candidate.name, size)
        self.lists = Served(champion), Served(candidate)
        self.trips = enrol(past, journey.lines.between(SPLIT, size.end), shoppers=size.shoppers, seed=seed,
                           start=SPLIT, days=size.enrol_days)
        self.shoppers = Shoppers(self.trips, seed)
        self.draft, self.rule = PairDraft(self.config.coin), Sequential()
        self.stage, self.since = self.config.stages[0].stage, SPLIT
        self.units: dict[str, Unit] = {}
        self.touched: dict[tuple[str, str], tuple[datetime, str | None]] = {}
        #: (stage, lane) -> household -> cents
        self.spent: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        self.lanes: dict[str, str] = {}  # household -> lane, from its first request on
        self.agreed = self.slots = self.asked = 0

    def run(self) -> Result:
        """Replay until the rule concludes or refuses for good, or until everybody has matured."""
        moments = sorted([(trip.asks_at, 1, trip.basket, trip) for trip in self.trips]
                         + [(trip.paid_at, 0, trip.basket, trip) for trip in self.trips])
        at, midnight = 0, SPLIT
        while True:
            midnight += timedelta(days=1)
            while at < len(moments) and moments[at][0] < midnight:
                (self._ask if moments[at][1] else self._pay)(moments[at][3])
                at += 1
            judgement, evidence = self._judge(midnight)
            over = judgement.verdict not in ("advance", "hold") or refused(
                self.config, cause=judgement.cause, stage=self.stage, matured=evidence.matured_here, since=self.since,
                now=midnight)
            if over or midnight >= self.size.over:
                grounds = evidence.pooled if judgement.cause == "worse" else evidence.preference
                return Result(self.story, self.seed, judgement, self.stage, (midnight - SPLIT).days,
                              grounds.preference, sum(t.asks_at < midnight for t in self.trips))
            if judgement.verdict == "advance":
                self.stage, self.since, self.asked = after(self.config, self.stage, "advance"), midnight, 0

    def _plan(self) -> ExperimentPlan:
        return ExperimentPlan(name=self.story, candidate=self.config.candidate, salt=self.config.salt or "",
                              stage=self.stage, share=share_of(self.config, self.stage), holdout=self.config.holdout)

    def _ask(self, trip: Trip) -> None:
        plan, user, now = self._plan(), trip.household, trip.asks_at
        lane = assign(plan, user, {})
        champion, candidate = (lists.of(trip) for lists in self.lists)
        drafted = lane == "interleave" and plan.share > 0
        chosen = self.draft.choose(champion, candidate, LIST_ITEMS, share=plan.share if drafted else 0.0,
                                   salt=plan.salt, unit=user, ranking_id=trip.basket).slots
        self.lanes[user] = lane
        self.asked += 1
        self.agreed += sum(slot.kind == "shared" for slot in chosen)
        self.slots += len(chosen)
        if self.stage != "shadow":
            unit = self.units.setdefault(user, Unit(user, lane, self.stage, now, now + WINDOW))
            if now <= unit.matured_at and drafted:
                unit.n += len({slot.pair_id for slot in chosen if slot.kind in ("pair", "half")})
        for slot in chosen:
            self.touched[user, slot.item_id] = now, slot.owner if slot.kind in ("pair", "half") else None
        list(self.shoppers.look(trip, [slot.item_id for slot in chosen]))

    def _pay(self, trip: Trip) -> None:
        user = trip.household
        unit = self.units.get(user)
        for act in self.shoppers.pay(trip):
            seen, owner = self.touched[user, act.item_id]
            if unit is None or act.time - seen > WINDOW:
                continue
            spent = self.spent[self.stage, unit.lane]
            spent[user] = spent.get(user, 0) + (act.value_minor or 0)
            if act.time <= unit.matured_at:
                unit.x += owner == "candidate"
                unit.y += owner == "champion"

    def _judge(self, now: datetime) -> tuple[Judgement, Evidence]:
        matured = sorted((u for u in self.units.values() if u.matured_at <= now), key=lambda u: (u.matured_at, u.unit))
        units = analysis.Units.of(matured)
        look = analysis.Look.of(self.config)
        ours = units.first_in(*judged_in(self.config, self.stage))
        clean = "nothing can go wrong in this process"
        evidence = Evidence(
            experiment=self.story, stage=self.stage, held=False, started_at=SPLIT, since=self.since,
            definition=self.config.model_dump(mode="json"), matured=sum(u.lane == "interleave" for u in matured),
            matured_here=sum(u.lane == "interleave" and u.stage == self.stage for u in matured),
            preference=analysis.compare(ours, look), pooled=analysis.compare(units, look),
            answers=Answers(asked=self.asked, champion_asked=self.asked),
            guardrails=tuple(self._read(index) for index in range(len(self.config.guardrails))),
            checks=tuple(Check(name=name, status="ok", reason=clean) for name in ("coin_audit", "sample_ratio")),
            overlap=self.agreed / self.slots if self.slots else None)
        return self.rule.decide(evidence, now), evidence

    def _read(self, index: int) -> Reading:
        wanted, share = self.config.guardrails[index], share_of(self.config, self.stage)
        if wanted.metric != "revenue_per_user_day":
            fine = Estimate(0.0, 0.0, 0.0, se=0.0, n=1)
            return Reading(metric=wanted.metric, stage=self.stage, share=share, margin=wanted.margin,
                           required=wanted.required, worse="higher", effect=fine, lane_effect=fine, status="ok",
                           reason="nothing can go wrong in this process")
        states = {}
        for lane in ("interleave", "holdout"):
            users = [user for user, own in self.lanes.items() if own == lane]
            spent = self.spent.get((self.stage, lane))
            if users and spent:
                values = [[1.0, float(spent.get(user, 0))] for user in users]
                states[lane] = Buckets.zero(k=BUCKETS, variables=["users", SOURCE.numerator]).update(
                    bucket_of(users, BUCKETS), values)
        return guardrails.read(wanted, states, stage=self.stage, share=share,
                               alpha=self.config.alpha / len(self.config.guardrails))


_journey: list[Journey] = []


def play(story: Story, seed: int, size: Size) -> Result:
    """One run, on a year that is read once per process."""
    if not _journey:
        _journey.append(load())
    return World(story, seed, size, _journey[0]).run()


def main() -> int:
    """Print one line per run, then the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=31001, help="the first of them")
    parser.add_argument("--stories", nargs="+", choices=STORIES, default=list(STORIES))
    parser.add_argument("--shoppers", type=int, default=Size().shoppers)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    size = Size(shoppers=options.shoppers)
    tasks = [(story, seed, size) for story in options.stories
             for seed in range(options.first, options.first + options.seeds)]
    results = []
    with ProcessPoolExecutor(options.processes) as pool:
        for result in pool.map(play, *zip(*tasks, strict=True)):
            results.append(result)
            print(f"{result.story:9} seed {result.seed}: {result.judgement.verdict:12} day {result.day:3} in "
                  f"{result.stage:7} after {result.trips:6} requests: {result.judgement.reason}",
                  file=sys.stderr, flush=True)
    print(table(results))
    return 0


def table(results: list[Result]) -> str:
    """Outcomes by story, with the median day of the verdict."""
    head = ["story", "seeds", *(name.replace("_", " ").upper() for name in OUTCOMES), "median day",
            "median net preference"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for story in dict.fromkeys(result.story for result in results):
        own = [result for result in results if result.story == story]
        count = Counter(result.judgement.verdict for result in own)
        values = [result.preference.value for result in own if result.preference.value is not None]
        lines.append("| " + " | ".join([
            story, str(len(own)), *(str(count[name]) for name in OUTCOMES), f"{np.median([r.day for r in own]):.0f}",
            f"{np.median(values):+.1%}" if values else "missing"]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
