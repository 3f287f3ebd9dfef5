"""A pytest plugin: every expectation of a ``NAME.gate.toml`` is a test, and a fixture evaluates from Python.

Inert unless there is such a file below what pytest collects, or a test asks for the fixture: nothing else is loaded.

    pytest release.gate.toml                 # what is evaluated stands under [run] of the file

    def test_my_candidate(incumbent_gate):
        done = incumbent_gate("release.gate.toml", candidate="my_shop:candidate")
        assert done.ok, done
        assert done.outcomes[0].candidate.value > 0.1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from incumbent.loop.evaluate import Evaluation

SUFFIX = ".gate.toml"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> GateFile | None:
    """A gate file that bears the suffix, or that is named on the command line."""
    if file_path.name.endswith(SUFFIX) or (file_path.name == SUFFIX[1:] and parent.session.isinitpath(file_path)):
        return GateFile.from_parent(parent, path=file_path)
    return None


class GateFile(pytest.File):
    """The expectations of one file; the models are asked once, when the first of them runs."""

    _done: Evaluation | None = None
    _failure: Exception | None = None

    def collect(self) -> Iterable[Expected]:
        """A test for each expectation of the file."""
        from incumbent.metrics.expectation_file import read_gate

        seen: dict[str, int] = {}
        for n, one in enumerate(read_gate(self.path).expectations()):
            title = f"{one.title}: {one.bounds}"
            seen[title] = seen.get(title, 0) + 1
            name = title if seen[title] == 1 else f"{title} ({seen[title]})"
            yield Expected.from_parent(self, name=name, number=n)

    def done(self) -> Evaluation:
        """The evaluation, carried out once; what stopped it stops every test of the file with the same error."""
        from incumbent.commands.evaluate import Wanted, carry_out

        if self._failure is not None:
            raise self._failure
        if self._done is None:
            try:
                self._done = carry_out(Wanted(self.path))
            except Exception as error:
                self._failure = error
                raise
        return self._done


class Expected(pytest.Item):
    """One expectation; over every value of a key it fails where one of them does."""

    def __init__(self, *, number: int, **more: Any) -> None:
        super().__init__(**more)
        self._number = number

    def runtest(self) -> None:
        """Raise where the expectation is not met; skip where it has no number and the gate lets that pass."""
        assert isinstance(self.parent, GateFile)
        own = [one for one in self.parent.done().outcomes if one.number == self._number]
        wrong = [one for one in own if not one.ok]
        if wrong:
            raise NotMetError("\n".join(_told(one) for one in wrong))
        if all(one.status == "missing" for one in own):
            pytest.skip("; ".join(one.message for one in own))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The sentence instead of a traceback, where the expectation itself is what failed."""
        from incumbent.errors import IncumbentError

        if isinstance(excinfo.value, NotMetError | IncumbentError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it stands."""
        return self.path, None, self.name


class NotMetError(AssertionError):
    """An expectation does not hold."""


def _told(one: Any) -> str:
    from incumbent.metrics.expectation import say

    return (f"{one.expectation.title}: {one.expectation.bounds}; {one.message}\n"
            f"  champion {say(one.champion)}\n  candidate {say(one.candidate)}\n  {one.users} users")


@pytest.fixture
def incumbent_gate(request: pytest.FixtureRequest) -> Callable[..., Evaluation]:
    """``incumbent_gate(path, candidate=..., champion=..., data=...)``: the evaluation; paths are beside the test."""
    beside = request.path.parent

    def evaluated(gate: str | Path, **wanted: Any) -> Evaluation:
        from incumbent.commands.evaluate import Wanted, carry_out

        paths = {key: beside / value for key, value in wanted.items() if key in ("history", "catalogue", "config")}
        return carry_out(Wanted(beside / gate, **{**wanted, **paths}))

    return evaluated
