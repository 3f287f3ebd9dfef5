"""Which segments feel a drift, told: each one's own change, and how much of the whole is only another mix of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from incumbent.drift.decompose import decompose
from incumbent.drift.mix_change import mix_change
from incumbent.drift.segments import LEAST, segment_changes
from incumbent.loop.drift import names
from incumbent.loop.drift.felt import Felt
from incumbent.loop.drift.judges import Judge

#: streams whose mean is a number and no share
FIGURES = ("numbers", "calibration", names.NDCG)


def told(felt: Felt, judge: Judge, kind: str, field: str) -> dict[str, Any]:
    """Plain JSON values: ``segments``, ``mix`` and ``within`` of a mean, ``split`` of a divergence, and a ``text``.

    ``as`` says how a mean reads: ``share`` or ``figure``. Empty where nothing is told by segment.
    """
    if felt.reason:
        return {"segments": [], "text": f"no segments: {felt.reason}"}
    if not felt.current:
        return {}
    figure = kind in FIGURES and judge.monitor != "missing"
    found: dict[str, Any] = {"segments": [], "as": "figure" if figure else "share"}
    lines: list[str] = []
    pairs = [{name: pair for name, state in side.items() if (pair := _sums(judge, kind, state))[0] > 0}
             for side in (felt.current, felt.reference)]
    rates: dict[str, dict[str, Any]] = {}
    if all(pairs):
        parts = decompose(*pairs)
        rates = {one.segment: vars(one) for one in parts.segments}
        found |= {"mix": parts.mix, "within": parts.within}
        lines.append(f"  {_said(parts.mix, found)} by the mix of {field}, {_said(parts.within, found)} within")
    if judge.risk is None and kind != "calibration":
        split = mix_change(felt.current, felt.reference)
        found["split"] = None if split is None else vars(split)
        if split is not None:
            lines.append(f"  {split.js:.4f} nats ({split.noise:.4f} expected): {split.mix:+.4f} by the mix of {field}, "
                         f"{split.within:.4f} within")
        for change in segment_changes(felt.current, felt.reference):
            found["segments"].append({**rates.get(change.segment, {}), **vars(change)})
            lines.append(f"segment {change.segment}: " + (
                change.reason or f"{change.js:.4f} nats, {change.part:.0%} of the change") + f" ({change.n:,} rows)")
    else:
        for name, one in rates.items():
            n = round(pairs[0].get(name, (0, 0))[0])
            found["segments"].append({**one, "n": n})
            lines.append(f"  {name}: {_rate(one['reference_rate'], found)} -> {_rate(one['current_rate'], found)} of "
                         f"{n:,}{' (few)' if n < LEAST else ''}")
    return {**found, "text": "\n".join(lines)}


def _sums(judge: Judge, kind: str, state: Any) -> tuple[float, float]:
    """Of what a segment's mean is made: how much, and the sum; (0, 0) of what has no mean."""
    if judge.risk is not None:
        seen = judge.of(state)
        return float(seen.n), float(seen.n) * float(seen.mean("x").value or 0.0)
    if kind == "calibration":  # observed over expected clicks
        return float(state.p.sum()), float(state.y.sum())
    return _mean(state) if kind == "numbers" else (0.0, 0.0)


def _mean(state: Any) -> tuple[float, float]:
    mean = state.mean().value
    return (0.0, 0.0) if mean is None else (float(state.n), float(state.n) * mean)


def _said(value: float, found: Mapping[str, Any]) -> str:
    return f"{value:+.2%}" if found["as"] == "share" else f"{value:+.4g}"


def _rate(value: float | None, found: Mapping[str, Any]) -> str:
    if value is None:
        return "none"
    return f"{value:.2%}" if found["as"] == "share" else f"{value:.4g}"
