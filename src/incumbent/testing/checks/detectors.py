"""The contract suite of detectors: `incumbent check detectors`. Every registered one, and any ``module:attribute``.

What is registered is a factory without arguments. Tags say what is asked beyond the common laws: ``two_sample`` or
``sequential``, ``calibrated`` (it keeps its promise on its own example), ``sees`` (it finds its own example's drift).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np

from incumbent.drift.detector import Detector, Memory, Reference, Result
from incumbent.stats.binomial import proportion
from incumbent.testing.checks.suite import NotApplicable, Suite
from incumbent.testing.checks.suite import Result as Said

SEED = 118_214
CURRENT = 12  # windows judged after those of the baseline


@contextmanager
def _made(factory: Any) -> Iterator[Detector]:
    yield factory()


SUITE = Suite("detectors", _made)


def example(detector: Detector, *, drifted: int = 0, seed: int = 0) -> tuple[Reference, list[Any]]:
    """A baseline that is long enough, and the windows after it."""
    count = max(detector.least_windows() + 5, 20)
    states = detector.example(np.random.default_rng([SEED, seed]), count + CURRENT, drifted)
    return detector.calibrate(Reference.of(states[:count])), states[count:]


def replay(detector: Detector, reference: Reference, windows: Iterable[Any]) -> list[Result]:
    """Every window judged in turn, with the memory that the one before left."""
    memory: Memory = None
    said = []
    for window in windows:
        result, memory = detector.step(window, reference, memory)
        said.append(result)
    return said


# ------------------------------------------------------------------------------------------------------------ laws
@SUITE.law()
def has_name_hash_and_alpha(detector: Detector) -> None:
    """It has a name, a hash of 16 hex digits that stays the same, and an alpha in (0, 1)."""
    assert detector.name and len(detector.hash) == 16 and int(detector.hash, 16) >= 0 and detector.hash == detector.hash
    assert 0 < detector.alpha < 1 and detector.least_windows() >= 1


@SUITE.law()
def results_are_sound(detector: Detector) -> None:
    """Every result has a known status, a reason, a fitting severity, numbers in range, and evidence in plain JSON."""
    for result in replay(detector, *example(detector, drifted=4)):
        assert result.status in ("ok", "drift") and result.reason.strip(), result
        assert (result.severity == "info") == (result.status == "ok"), result
        assert result.p_value is None or 0 < result.p_value <= 1, result
        assert result.e_value is None or result.e_value >= 0, result
        if result.p_value is not None and result.resolution is not None and result.extrapolated is None \
                and "two_sample" in detector.tags:
            assert result.p_value >= result.resolution * (1 - 1e-12), result
        sizes = [part.standardised for part in result.components]
        assert sizes == sorted(sizes, reverse=True), "the components come with the largest first"
        again = msgspec.json.decode(msgspec.json.encode(result.evidence()), type=dict)
        assert again == result.evidence()


@SUITE.law()
def is_pure(detector: Detector) -> None:
    """The same window, reference and memory give the same result, and nothing that is passed in is changed."""
    reference, windows = example(detector, drifted=4)
    before = reference.hash, [window.to_bytes() for window in windows]
    first = replay(detector, reference, windows)
    memory: Memory = None
    for window, expected in zip(windows, first, strict=True):
        frozen = msgspec.json.encode(memory)
        for _ in range(2):
            result, after = detector.step(window, reference, memory)
            assert result == expected
        assert msgspec.json.encode(memory) == frozen, "memory was changed in place"
        memory = after
    assert before == (Reference(reference.windows).hash, [window.to_bytes() for window in windows])


@SUITE.law()
def memory_survives_a_crash(detector: Detector) -> None:
    """Memory is None or plain JSON: written and read back between any two windows it gives the same results."""
    reference, windows = example(detector, drifted=4)
    memory: Memory = None
    said = []
    for window in windows:
        result, after = detector.step(window, reference, memory)
        memory = msgspec.json.decode(msgspec.json.encode(after))
        said.append(result)
    assert said == replay(detector, reference, windows)


@SUITE.law()
def calibration_changes_nothing(detector: Detector) -> None:
    """A reference that was not calibrated before gives the same result."""
    reference, windows = example(detector, drifted=4)
    for window in (windows[0], windows[-1]):
        assert detector.step(window, reference, None) == detector.step(window, Reference(reference.windows), None)


@SUITE.law()
def nothing_is_no_data(detector: Detector) -> None:
    """An empty window, and an empty baseline, are no_data with the reason; memory stays as it was."""
    reference, windows = example(detector)
    _, memory = detector.step(windows[0], reference, None)
    empty = windows[0].subtract(windows[0])
    for window, against in ((empty, reference), (windows[0], Reference(()))):
        result, after = detector.step(window, against, memory)
        assert result.status == "no_data" and result.reason.strip() and result.severity != "page", result
        assert after == memory


@SUITE.law()
def few_windows_are_said(detector: Detector) -> None:
    """A baseline below `least_windows` is no_data: it neither alarms nor reads as ok."""
    if detector.least_windows() < 2:
        raise NotApplicable("one window is enough for it")
    reference, windows = example(detector, drifted=4)
    short = Reference(reference.windows[:detector.least_windows() - 1])
    assert {result.status for result in replay(detector, short, windows)} == {"no_data"}


@SUITE.law()
def foreign_windows_are_invalid(detector: Detector) -> None:
    """A window of another configuration is invalid, and never drift."""
    reference, windows = example(detector)
    other = next((type(windows[0]).zero(**config) for config in type(windows[0]).example_configs
                  if type(windows[0]).zero(**config).config_hash != windows[0].config_hash), None)
    if other is None:
        raise NotApplicable("its states have one configuration")
    result, _ = detector.step(other, reference, None)
    assert result.status == "invalid" and result.reason.strip(), result


@SUITE.law("two_sample")
def two_samples_have_no_memory(detector: Detector) -> None:
    """Memory comes back as it was, and what came before a window changes nothing."""
    reference, windows = example(detector, drifted=4)
    for window in windows:
        mark = {"mark": 1}
        assert detector.step(window, reference, mark)[1] is mark
    assert replay(detector, reference, windows[::-1])[::-1] == replay(detector, reference, windows)


@SUITE.law("calibrated")
def keeps_its_promise(detector: Detector) -> None:
    """On null windows of its example the alarms are no more than alpha a window, within the exact 95 % interval."""
    alarms = looks = 0
    for seed in range(8):
        said = replay(detector, *example(detector, seed=seed))
        alarms += sum(result.status == "drift" for result in said)
        looks += len(said)
    delivered = proportion(alarms, looks)
    assert delivered.low is not None and delivered.low <= detector.alpha, f"{alarms} alarms in {looks} windows"


@SUITE.law("sees")
def sees_its_own_drift(detector: Detector) -> None:
    """The drift of its example is found before it has gone on for `CURRENT` windows."""
    for seed in range(3):
        said = replay(detector, *example(detector, drifted=CURRENT, seed=seed))
        assert any(result.status == "drift" for result in said), seed


def run(names: Iterable[str] | None = None) -> list[Said]:
    """The results of all laws: what ``incumbent check detectors`` prints."""
    return SUITE.run(names)
