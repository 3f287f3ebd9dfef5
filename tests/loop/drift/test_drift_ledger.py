"""The ledger: what of a window's result is news, and what is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from incumbent.drift.detector import Result, invalid, no_data
from incumbent.loop.drift.ledger import Standing, after
from incumbent.testing.event_shop import START

CALM = Result(status="ok", reason="as ever", p_value=0.5)
DRIFT = Result(status="drift", severity="ticket", reason="moved", p_value=0.001)


def lived(*results: Any, quiet: bool = False) -> tuple[Standing, list[tuple[str, str]]]:
    standing, told = Standing(), []
    for day, result in enumerate(results):
        standing, news = after(standing, result, None, START + timedelta(days=day), alarm="drift", risk=False,
                               quiet=quiet, recovery=2)
        if news is not None:
            told.append((news.status, news.severity))
            if news.opens:
                standing = Standing(**{**{f: getattr(standing, f) for f in standing.__struct_fields__}, "open": "id"})
    return standing, told


@pytest.mark.parametrize(("lost", "word", "severity"), [
    (no_data("no rows"), "no_data", "info"), (invalid("all missing"), "invalid", "ticket")])
def test_lost_data_is_told_once_while_an_incident_is_open_and_its_end_too(lost, word, severity):
    standing, told = lived(DRIFT, lost, lost)
    assert told == [("drift", "ticket"), (word, severity)]
    assert (standing.open, standing.status, standing.data, standing.calm) == ("id", "drift", word, 0)
    assert lost.reason in standing.reason and "still open" in standing.reason
    standing, told = lived(DRIFT, lost, lost, CALM)
    assert told[2:] == [("drift", "info")] and standing.open == "id" and standing.data == "data"
    standing, told = lived(DRIFT, lost, CALM, lost, CALM, CALM)
    assert [one[0] for one in told] == ["drift", word, "drift", word, "drift", "ok"] and standing.open is None


def test_what_was_thin_or_excluded_before_is_no_news_in_an_incident():
    standing, told = lived(DRIFT, no_data("no rows"), CALM, quiet=True)
    assert told == [("drift", "ticket")] and standing.open == "id"
