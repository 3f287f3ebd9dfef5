"""A kill campaign over HTTP: gateway, collector and loop on one directory, each as users start it, dying on order.

`HttpCampaign` keeps shoppers going, kills, sees to it that what died is started again, and drains all in the end;
`incumbent.testing.campaign_verdict` then says what was lost or counted twice.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import Struct

from incumbent.clock import ReplayClock, SystemClock
from incumbent.commands.init import init
from incumbent.config import load
from incumbent.demo.toml import dumps
from incumbent.errors import UnavailableError
from incumbent.events.ids import EventIds
from incumbent.loop.operate import Operator
from incumbent.service.step import step
from incumbent.stores.control import SqlControl
from incumbent.testing.armed import Order
from incumbent.testing.campaign_part import RANDOM, WHOLE, Part
from incumbent.testing.campaign_points import MOMENTS, Moment
from incumbent.testing.campaign_shoppers import SURFACES, Shopper, Time

PARTS = ("gateway", "collector", "loop")
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
BUCKETS, CURRENCY = 2, "EUR"
PATIENCE_DAYS = 8.0  # of model time: within as many, every moment comes


def configuration() -> dict[str, Any]:
    """Three surfaces with an experiment each, durable answers, and a loop that never rests."""
    patient = {"deadline_ms": 20_000}
    experiment = {
        "candidate": "favourites", "holdout": 0.2, "guardrails": [], "currency": CURRENCY,
        "min_days": 365.0, "max_days": 3650.0, "maturity_window_days": 0.5, "attribution_window_days": 0.5,
        "stages": [{"stage": "shadow", "share": 0.0, "min_units": 0, "min_days": 0.0, "min_answers": 1},
                   {"stage": "canary", "share": 0.3, "min_units": 1, "min_days": 0.5},
                   {"stage": "ramp_50", "share": 0.5}]}
    return {
        "service": {"clock": "replay", "replay_start": START.isoformat(), "drain_s": 120.0, "log_format": "text"},
        "stores": {"durability": "before_answer", "buckets": BUCKETS},
        "loop": {"seal_s": 0.5, "attribute_s": 1.0, "decide_s": 1.5, "act_s": 0.5, "live_s": 5.0, "compact_s": 5.0},
        "models": {name: {"target": f"shop:{name}", **patient} for name in ("popular", "favourites")},
        "surfaces": {name: {"champion": "popular", "depth": 30, **patient} for name in SURFACES},
        "experiments": {experiment_on(name): {"surface": name, **experiment} for name in SURFACES},
    }


def experiment_on(surface: str) -> str:
    """The experiment of a surface."""
    return f"on-{surface}"


class _Waited(Struct, frozen=True):
    """Since when the next death of a part is waited for, and how many there were."""

    since_s: float
    since: datetime
    deaths: int = 0


class HttpCampaign:
    """The parts, the shoppers, and their deaths.

    What is waited for fails, with its name, where nothing came of it for `patience_s` and for `PATIENCE_DAYS` of model
    time, or for three times `patience_s` whatever the model time: a busy machine is slow in both.
    """

    def __init__(self, directory: Path, rng: random.Random, *, shoppers: int = 2, pause_s: float = 0.2,
                 patience_s: float = 300.0) -> None:
        self.directory, self.data, self.rng = directory, directory / "incumbent-data", rng
        self._patience_s, self._monotonic = patience_s, SystemClock().monotonic
        init(directory)
        (directory / "incumbent.toml").write_text(dumps(configuration()))
        self.clock = ReplayClock(self.data, start=START)
        self.parts = {name: Part(name, directory) for name in PARTS}
        time, gateway, collector = Time(self.clock), self.parts["gateway"].url, self.parts["collector"].url
        self.shoppers = [Shopper(n, directory, gateway, collector, time, pause_s) for n in range(shoppers)]

    # --------------------------------------------------------------------------------------------------------- living
    def start(self) -> None:
        """Start the parts, then the shoppers."""
        for part in self.parts.values():
            part.start()
        for part in self.parts.values():
            part.wait()
        for shopper in self.shoppers:
            shopper.start()

    def begin_experiment(self, surface: str) -> None:
        """As a person does by hand, on the directory."""
        control = SqlControl.in_directory(self.data)
        try:
            Operator(control, load(self.directory / "incumbent.toml"), self.clock, EventIds(self.clock)).start(
                experiment_on(surface), actor="campaign", reason="to have something to decide")
        finally:
            control.close()

    def live(self, visits: int) -> None:
        """Let each shopper have so many more visits acknowledged; fails where one has none for `patience_s`."""
        until = [len(shopper.shown) + visits for shopper in self.shoppers]
        for shopper, wanted in zip(self.shoppers, until, strict=True):
            had, since_s = len(shopper.shown), self._monotonic()
            while had < wanted:
                self._wait(0.1)
                if len(shopper.shown) > had:
                    had, since_s = len(shopper.shown), self._monotonic()
                elif self._monotonic() - since_s > self._patience_s:
                    raise AssertionError(f"{shopper.name} has had no visit in {self._patience_s:g} s, {had} before")

    def strike(self, moments: Sequence[Moment], experiment_of: str, nth: int = 3) -> None:
        """One process dies at each of these moments, in their order within a part; the parts die independently.

        A process that runs without an order is killed, wherever it is; an order that was lost, as its process died of
        something else, is given again. An experiment is started, so that there is something to decide. A part that is
        through lives on while the others are not.
        """
        wanted = {name: [Order(moment.point, self.rng.randint(1, nth) if moment.often else 1)
                         for moment in moments if moment.part == name] for name in PARTS}
        before = {name: part.orders.deaths for name, part in self.parts.items()}
        for name, chosen in wanted.items():
            self.parts[name].orders.give(chosen)
        self.begin_experiment(experiment_of)
        waited = {name: _Waited(self._monotonic(), self.clock.now()) for name in PARTS}
        while any(len(chosen) > waited[name].deaths for name, chosen in wanted.items()):
            self._wait(0.2)
            for name, part in self.parts.items():
                died = part.orders.deaths - before[name]
                if died.total() != waited[name].deaths:
                    waited[name] = _Waited(self._monotonic(), self.clock.now(), died.total())
                open_ = [order for order in wanted[name] if not died[order.point]]
                if open_:
                    part.rearm(open_)
                if open_ and self._out_of_patience(waited[name]):
                    raise AssertionError(
                        f"{name} does not die at any of {self._named(open_)} in "
                        f"{self._monotonic() - waited[name].since_s:.0f} s and "
                        f"{self.clock.now() - waited[name].since} of model time\n"
                        f"{part.running.text[-4000:] if part.running else ''}")

    def _named(self, orders: Sequence[Order]) -> list[str]:
        points = {order.point for order in orders}
        return [f"{moment.part} {moment.name}" for moment in MOMENTS if moment.point in points]

    def _out_of_patience(self, waited: _Waited) -> bool:
        seconds, days = self._monotonic() - waited.since_s, (self.clock.now() - waited.since) / timedelta(days=1)
        return (seconds > self._patience_s and days > PATIENCE_DAYS) or seconds > 3 * self._patience_s

    def at_random(self, times: int, low_s: float = 0.3, high_s: float = 3.0, whole: float = 0.0) -> None:
        """Kill parts in turn at random moments; `whole` is how often with the supervisor."""
        for n in range(times):
            self._wait(self.rng.uniform(low_s, high_s))
            part = self.parts[PARTS[n % len(PARTS)]]
            if self.rng.random() < whole:
                part.kill_whole()
            else:
                self._kill_surely(part)

    def _kill_surely(self, part: Part) -> None:
        until = self._monotonic() + self._patience_s
        while not part.kill():
            if self._monotonic() > until:
                raise AssertionError(f"no process of {part.name} lives\n{part.running.text if part.running else ''}")
            self._wait(0.1)

    def _wait(self, seconds: float) -> None:
        threading.Event().wait(seconds)
        for shopper in self.shoppers:
            if shopper.error is not None:
                raise AssertionError(f"{shopper.name} failed") from shopper.error
        for part in self.parts.values():
            if part.running is not None and part.running.process.poll() is not None:
                raise AssertionError(f"the supervisor of {part.name} ended:\n{part.running.text}")

    # --------------------------------------------------------------------------------------------------------- ending
    def drain(self) -> None:
        """Let shoppers say the rest, the fronts stop, and the loop seal, measure, decide and act until all is done."""
        for shopper in self.shoppers:
            shopper.stop()
        for shopper in self.shoppers:
            shopper.join(self._patience_s)
            assert not shopper.is_alive() and shopper.error is None, f"{shopper.name}: {shopper.error}"
        for name in ("gateway", "collector"):
            self._end(name)
        self.clock.advance_to(self.clock.now() + timedelta(days=2))  # whoever is due can be sealed
        control = SqlControl.in_directory(self.data)
        try:
            for _ in range(20):
                self._step(control)
                if not control.outbox(1):
                    break
            assert not control.outbox(1), "the outbox is not worked off"
            self._step(control)
        finally:
            control.close()
        self._end("loop")

    def _step(self, control: SqlControl) -> None:
        """One step of the loop, waited for as long as its cursors still move."""
        before: dict[str, str] = {}
        while True:
            try:
                asyncio.run(step(control, self.clock, wait_s=self._patience_s))
                return
            except UnavailableError:
                if control.cursors("") == before:
                    raise
                before = control.cursors("")

    def _end(self, name: str) -> None:
        code = self.parts[name].stop()
        running = self.parts[name].running
        assert code == 0, f"{name} ended with {code}:\n{running.text if running else ''}"

    def close(self) -> None:
        """Kill whatever still runs."""
        for shopper in self.shoppers:
            shopper.stop()
        for part in self.parts.values():
            part.close()

    # -------------------------------------------------------------------------------------------------------- telling
    @property
    def kills(self) -> int:
        """Processes killed so far."""
        return sum(sum(part.deaths.values()) for part in self.parts.values())

    def table(self) -> str:
        """Deaths by part and moment."""
        lines = []
        for name, part in self.parts.items():
            deaths = part.deaths
            told = {moment.point: moment.name for moment in MOMENTS if moment.part == name}
            lines += [f"{deaths[point]:4d}  {name:9s}  {told.get(point, point)}"
                      for point in (*told, RANDOM, WHOLE) if deaths[point]]
        return "\n".join([*lines, f"{self.kills:4d}  kills in all"])
