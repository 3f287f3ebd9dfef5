"""Every registered model adapter keeps every law, against real endpoints."""

import pytest

from incumbent.testing.checks.models import SUITE


@pytest.mark.parametrize("case", SUITE.cases(), ids=str)
def test_contract(case):
    assert case.check().ok


class Careless:
    """An adapter that swallows failures into an empty list: the suite must catch it."""

    def __init__(self, plan):
        self._behaviour = plan.target.rsplit(":", 1)[-1]

    @staticmethod
    def example_plan(behaviour, url, **changes):
        from incumbent.testing.endpoints import example_plan

        return example_plan("callable", behaviour, url, **changes)

    async def recommend(self, request, k):
        from incumbent.testing.endpoints import BEHAVIOURS

        try:
            return list(BEHAVIOURS[self._behaviour](request, k))
        except RuntimeError:
            return []

    async def close(self):
        pass


def test_suite_catches_a_careless_adapter():
    broken = {result.law for result in (case.run() for case in SUITE.cases_of("careless", Careless)) if not result.ok}
    assert {"failure_is_an_answer", "deadline_holds"} <= broken
