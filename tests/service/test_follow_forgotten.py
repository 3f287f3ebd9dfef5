"""A gateway keeps nothing of a shopper who was forgotten, whoever forgot them."""

import asyncio
from datetime import UTC, datetime

import pytest

from incumbent.clock import ManualClock
from incumbent.events.ids import EventIds
from incumbent.events.schema import Audit
from incumbent.service.follow import Follower
from incumbent.service.metrics import Meter
from incumbent.stores.control import SqlControl
from incumbent.stores.memory_control import MemoryControl

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize("make", [lambda _: MemoryControl(), SqlControl.in_directory])
@pytest.mark.parametrize("seen", [False, True])
def test_a_running_gateway_forgets_with_control(make, seen, tmp_path):
    control, clock, held = make(tmp_path), ManualClock(NOW), {}
    follower = Follower(control, clock, Meter(None, "front", clock), None, held)

    async def story():
        await follower.exclude([("gone", "i1", NOW), ("kept", "i1", NOW)])
        if seen:
            await follower.poll()
        assert set(held) == {"gone", "kept"}
        control.erase(["gone"], Audit(event_id=EventIds(clock).new(), time=NOW, actor="ada", action="user.erase",
                                      subject="user:x", reason="asked"))
        await follower.exclude([("later", "i2", NOW)])
        await follower.poll()
        assert held == {"kept": frozenset({"i1"}), "later": frozenset({"i2"})}
        await follower.poll()
        assert set(held) == {"kept", "later"}
        await follower.close()

    asyncio.run(story())
