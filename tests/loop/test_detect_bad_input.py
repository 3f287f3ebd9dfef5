"""Input that cannot be judged: missing, too large, refused by a state; a status of its own, and it stops nothing."""

from __future__ import annotations

import msgspec
import pytest

from incumbent.errors import DataError
from incumbent.events.schema import Impression
from incumbent.loop.drift import frames, watch
from incumbent.loop.drift import ledger as drift_ledger
from incumbent.testing.drift_loop import SPRING, opened

LAST = SPRING + 16


@pytest.mark.slow
def test_missing_values_are_a_status_of_their_own(after_spring):
    findings = after_spring(watch=["missing", "context"], faults={"age_missing": SPRING + 4}).lived(SPRING, LAST)
    (found,) = opened(findings, "missing/context/home/age")
    assert (found.status, found.severity) == ("invalid", "ticket")
    assert not opened(findings, "context/home/age"), "what is there is distributed as ever"


@pytest.mark.parametrize("age", [1e200, -1.7e308])
def test_a_number_too_large_to_square_is_not_a_number_and_stops_nothing(after_spring, age):
    world = after_spring(watch=["context", "missing"])
    world.live(SPRING, SPRING + 1)
    shown = next(one for one in world.shop.day(SPRING) if isinstance(one, Impression))
    world.commit([msgspec.structs.replace(shown, event_id="huge", request_id="huge", context={"age": age})])
    world.look()
    standings = drift_ledger.read(world.control).standings
    assert standings["context/home/age"].status == "ok" and standings["context/home/age"].recent[0].n == 40
    assert standings["missing/context/home/age"].recent[0].n == 41


@pytest.mark.parametrize("where", ["state", "step"])
def test_a_stream_that_cannot_be_counted_or_judged_is_invalid_and_stops_no_other(after_spring, monkeypatch, where):
    def refuse(*_):
        raise DataError("a planted fault")

    world = after_spring(watch=["items", "context"])
    world.live(SPRING, SPRING + 1)
    if where == "state":
        monkeypatch.setitem(frames._ADD, "numbers", refuse)
    else:
        real = watch.Watch.step
        monkeypatch.setattr(watch.Watch, "step", lambda self, *args: (
            refuse() if self.name == "context/home/age" else real(self, *args)))
    (found,) = [one for one in world.look() if one.subject.startswith("stream:")]
    assert (found.subject, found.status, found.severity) == ("stream:context/home/age", "invalid", "ticket")
    assert "a planted fault" in found.reason
    assert drift_ledger.read(world.control).standings["items/home/popular"].status == "ok"
