"""Ranks over time: one stream's windows judged against its baseline, their evidence multiplied by an e-detector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from incumbent.drift.detector import Memory, Reference, Result, settings_hash
from incumbent.drift.sequential import Kind, calibrated, e_step, ranked
from incumbent.drift.windowed import WindowDetector
from incumbent.stats.fixed import check_alpha


class RankStream:
    """A sequential detector: `window`'s score is ranked among the baseline's and those before it, then multiplied.

    Alarm at ``M >= 1 / alpha``: a false one comes after 1 / alpha windows or more on average, where the windows are
    exchangeable without a change. It works at any alpha with any baseline that `window` can standardise, and what a
    small baseline costs is time. `keep` scores are remembered at most; an alarm starts memory afresh. A window that
    cannot be judged changes nothing. Under another alpha than its memory's, M goes on at the same part of its
    threshold: what was gathered under one promise is not cashed under a laxer one.
    """

    tags = frozenset({"sequential", "calibrated", "sees"})

    def __init__(
        self, name: str, window: WindowDetector, *, alpha: float = 0.001, kind: Kind = "e_sr", keep: int = 1000
    ) -> None:
        check_alpha(alpha)
        self.name, self.window, self.alpha, self.kind, self.keep = name, window, alpha, kind, keep

    @property
    def hash(self) -> str:
        """16 hex digits over name and settings, those of the window's detector included."""
        return settings_hash(self.name, {"window": self.window.hash, "alpha": self.alpha, "kind": self.kind,
                                         "keep": self.keep})

    def least_windows(self) -> int:
        """Those that the window's detector needs."""
        return self.window.least_windows()

    def calibrate(self, reference: Reference, like: int | None = None) -> Reference:
        """As the window's detector does."""
        return self.window.calibrate(reference, like)

    def step(self, current: Any, reference: Reference, memory: Memory) -> tuple[Result, Memory]:
        """The conclusion after one more window; `e_value` is M, `p_value` the window's own rank."""
        result, judged = self.window.judged(current, reference)
        if judged is None:
            return result, memory
        past = list(memory["scores"]) if memory else []
        p = ranked(judged.score, judged.null, past)
        log_m = e_step(self._carried(memory) if memory else None, calibrated(p), self.kind)
        drift = log_m >= math.log(1 / self.alpha)
        seen = (memory["windows"] if memory else 0) + 1
        many = "a window" if seen == 1 else f"{seen} windows"
        reason = (f"evidence {_shown(log_m)} of {1 / self.alpha:.4g} after {many}; the last has p = {p:.3g}, most "
                  f"off in {result.statistic} ({result.components[0].said})")
        said = Result(status="drift" if drift else "ok", severity="ticket" if drift else "info", reason=reason,
                      statistic=result.statistic, score=judged.score, p_value=p, e_value=math.exp(min(log_m, 709.0)),
                      resolution=judged.resolution, windows=result.windows, n=result.n, components=result.components)
        scores = [*past, judged.score] if len(past) < self.keep else past
        return said, None if drift else {"log_m": log_m, "scores": scores, "windows": seen, "alpha": self.alpha}

    def _carried(self, memory: Mapping[str, Any]) -> float:
        return float(memory["log_m"]) + math.log(memory.get("alpha", self.alpha) / self.alpha)

    def example(self, rng: Any, windows: int, drifted: int = 0) -> list[Any]:
        """That of the window's detector."""
        return self.window.example(rng, windows, drifted)


def _shown(log_m: float) -> str:
    return f"{math.exp(min(log_m, 700.0)):.3g}"


def embedding_stream(*, alpha: float = 0.001, **settings: Any) -> RankStream:
    """Embedding drift over time: `drift.alarm.embedding` under an e-detector; settings are those of `WindowDetector`.

    >>> embedding_stream(alpha=1 / 730).least_windows()
    8
    """
    from incumbent.drift.alarm import embedding

    return RankStream("embedding_stream", embedding(alpha=0.5, **settings), alpha=alpha)
