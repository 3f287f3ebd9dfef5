"""Control put back from a copy: days are sealed again by what the lake holds then; what was decided stays readable."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from incumbent.clock import ManualClock
from incumbent.config import ExperimentConfig
from incumbent.events import codec
from incumbent.events.ids import EventIds
from incumbent.events.plan import ServingPlan
from incumbent.events.schema import Decision, Feedback
from incumbent.loop.act import Actor
from incumbent.loop.attribute import Attributor
from incumbent.loop.decide import Decider
from incumbent.loop.definitions import definitions
from incumbent.loop.mature import Maturer
from incumbent.loop.seal import Sealer
from incumbent.stores.columns import from_arrow
from incumbent.stores.control import FILE, SqlControl
from incumbent.stores.inbox import EmbeddedLog
from incumbent.stores.lake import DeltaLake
from incumbent.stores.store import ExperimentRow, Record, seal_hash
from incumbent.testing.golden import event_id, impression, moment

START = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = ExperimentConfig.model_validate({
    "surface": "home", "candidate": "new", "maturity_window_days": 1, "attribution_window_days": 1, "currency": "EUR"})


class Shop:
    """Embedded stores in a directory, with the jobs of the loop on them."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.clock = directory, ManualClock(START)
        self.lake, self.log = DeltaLake(directory / "lake", 1), EmbeddedLog(directory, self.clock)
        self.control, self.ids = SqlControl.in_directory(directory), EventIds(self.clock)

    def send(self, event: Any) -> None:
        table = "feedback" if isinstance(event, Feedback) else "impression"
        self.log.append([Record(event.event_id, table, codec.encode(event))]).result(30)  # type: ignore[arg-type]

    def work(self) -> None:
        """Seal, measure, decide, act, and seal what was concluded."""
        sealer = Sealer(self.log, self.lake, self.control, self.clock, holder="loop")
        sealer.run_once()
        Attributor(self.lake, self.control, self.clock, lambda: definitions(self.control)).run_once()
        Maturer(self.lake, self.control, self.clock, grace_s=0.0).run_once()
        Decider(self.lake, self.control, self.clock, self.ids).run_once()
        Actor(self.control, self.log, self.clock, lambda: ServingPlan(0, START, {}, {})).run_once()
        sealer.run_once()

    def put_back(self, copy: Path) -> None:
        self.control.close()
        for path in self.directory.glob(f"{FILE}*"):
            path.unlink()
        shutil.copy(copy, self.directory / FILE)
        self.control = SqlControl.in_directory(self.directory)

    @property
    def kept(self) -> dict[str, Decision]:
        """The decisions in the lake."""
        found = from_arrow("conclusion", self.lake.scan("conclusion"))
        return {one.event_id: one for one in found if isinstance(one, Decision)}


def test_decisions_made_after_the_copy_stand_in_the_lake_with_what_they_stood_on(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.control.conclude(
        Decision(event_id=event_id("start", START), time=START, experiment="e", verdict="start", reason="test",
                 by="test"),
        experiment=ExperimentRow("e", "canary", START, START, False, None, 1, CONFIG.model_dump(mode="json")))
    for n in range(3):
        shop.send(impression(f"r{n}", START + timedelta(hours=n), f"u{n}", "home", "e/canary/interleave",
                             ["a:pair0:T", "b:pair0:C"]))
    shop.work()
    shop.control.close()
    shutil.copy(tmp_path / FILE, tmp_path / "copy")
    shop.control = SqlControl.in_directory(tmp_path)

    shop.clock.set(moment("2026-03-03T00:01"))
    shop.work()
    sealed, = shop.control.seals("e")
    decided = shop.control.conclusions("decision", "e", 1)[0]
    assert decided.evidence["seals"] == [sealed.hash] == [seal_hash(shop.control.matured("e"))]

    at = START + timedelta(hours=1)
    shop.send(Feedback(event_id=event_id("late", at), time=at, user_id="u0", item_id="a", action="purchase",
                       request_id="r0", value_minor=900, currency="EUR"))
    shop.put_back(tmp_path / "copy")
    assert shop.control.seals("e") == [] and decided not in shop.control.conclusions("decision", "e")
    shop.clock.advance(seconds=3600)
    shop.work()

    again, = shop.control.seals("e")
    assert (again.day, again.units) == (sealed.day, 3) and again.hash != sealed.hash  # with the late purchase
    anew = shop.control.conclusions("decision", "e", 1)[0]
    assert anew.evidence["seals"] == [again.hash] == [seal_hash(shop.control.matured("e"))]
    assert {decided.event_id, anew.event_id} <= shop.kept.keys()
    was = shop.kept[decided.event_id]
    assert was == decided and was.evidence["seals"] == [sealed.hash] and was.evidence["evidence_hash"]
    assert [was.evidence["preference"]["wins"], anew.evidence["preference"]["wins"]] == [0, 1]
    shop.control.close()
    shop.log.close()
