from __future__ import annotations

import pytest

from incumbent.demo import data


@pytest.fixture(scope="session")
def journey() -> data.Journey:
    """The cleaned year, read once."""
    return data.load()


@pytest.fixture(scope="session")
def past(journey: data.Journey) -> data.Lines:
    """The training months."""
    return journey.lines.before(data.SPLIT)
