"""`incumbent drift status`: what it says of the last alarms."""

from __future__ import annotations

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
