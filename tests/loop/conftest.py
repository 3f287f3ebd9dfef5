"""A shop whose spring is a baseline, built once for all tests of drift in the loop."""

from __future__ import annotations

from typing import Any

import pytest

from incumbent.testing.drift_loop import SPRING, World


@pytest.fixture(scope="session")
def built() -> World:
    """The spring, and its baseline. Not to be changed: `after_spring` is."""
    world = World()
    world.live(0, SPRING)
    world.attribute()
    world.clock.advance(seconds=8 * 86_400)  # no outcome may still come
    world.build(0, SPRING)
    return world


@pytest.fixture
def after_spring(built: World) -> Any:
    """Makes worlds that begin where the spring ended, with its baseline in force."""

    def make(lake: Any = None, control: Any = None, **options: Any) -> World:
        world = World(lake, control, **options)
        world.begin(built.control, SPRING)
        return world
    return make
