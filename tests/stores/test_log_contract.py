"""Every registered store bundle keeps every law of the Log and of Control."""

import pytest

from incumbent.testing.checks.stores import SUITE


@pytest.mark.parametrize("case", SUITE.cases(), ids=str)
def test_contract(case):
    assert case.check().ok
