"""`incumbent drift status`: what it says of the last alarms."""

from __future__ import annotations

import pytest

from incumbent.commands import drift as command

STATUS = {"baseline": {"name": "spring", "version": 1, "from": "2026-03-01", "to": "2026-04-29"}, "reason": None,
          "false_alarms_per_month": 1.0, "multiplicity": "bonferroni", "next": None, "until": {}, "monitors": [],
          "cohorts": [], "unwatched": [], "window": "day"}


def finding(n: int, severity: str) -> dict[str, object]:
    return {"time": f"2026-05-{31 - n:02} 00:30", "severity": severity, "subject": f"stream:items/{n}", "reason": "far",
            "evidence": {"explanation": {"text": f"candles {n}"}}}


def test_alarms_are_told_though_newer_findings_are_none(monkeypatch, capsys):
    class Desk:
        def drift(self):
            return STATUS

        def drift_findings(self, monitor, limit):
            return [*(finding(n, "info") for n in range(9)), *(finding(n, "ticket") for n in range(9, 16))][:limit]

    monkeypatch.setattr(command, "_desk", lambda *_: Desk())
    command.status()
    out = capsys.readouterr().out
    assert [f"candles {n}" in out for n in range(7, 16)] == [False, False, *[True] * 5, False, False]
    assert "TICKET stream:items/9: far" in out


@pytest.mark.parametrize(("now", "due"), [
    ("2026-05-02T00:29:59.999999+00:00", ""), ("2026-05-02T00:30:00+00:00", ", due now"),
    ("2026-05-02T00:30:00.000001+00:00", ", due now")])
def test_a_window_that_can_be_judged_is_due_now(monkeypatch, capsys, now, due):
    found = {**STATUS, "now": now, "next": "2026-05-02T00:30:00+00:00",
             "until": {"surfaces": "2026-05-01T00:00:00+00:00"}}

    class Desk:
        def drift(self):
            return found

        def drift_findings(self, monitor, limit):
            return []

    monkeypatch.setattr(command, "_desk", lambda *_: Desk())
    command.status()
    assert f"judged up to 2026-05-01 00:00 (surfaces); next at 2026-05-02 00:30 UTC{due}\n" in capsys.readouterr().out
