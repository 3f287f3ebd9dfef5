"""The framework of contract suites: a law is a function that raises where an implementation breaks it.

A suite enumerates one kind of the registry, asks of each implementation the laws that its `tags` promise, and excuses
an implementation from a law only by a written reason: the attribute ``excuses = {law: reason}`` on the implementation.
An excused law still runs, as an expected failure: where it holds after all, the excuse itself is the mistake.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from incumbent import registry
from incumbent.errors import NotFoundError


class NotApplicable(Exception):
    """Raised by a law that cannot be asked here and now (no network, no second process), with the reason."""


@dataclass(frozen=True)
class Result:
    """What one law said of one implementation.

    `ok` is False for a broken law, and for an excuse that is not needed or names no law. `excused` is the written
    reason where there is one, `skipped` the reason of a law that could not be asked.
    """

    law: str
    subject: str
    ok: bool
    excused: str | None = None
    message: str = ""
    skipped: str | None = None

    def __str__(self) -> str:
        word = "FAILED" if not self.ok else "excused" if self.excused else "skipped" if self.skipped else "ok"
        tail = ": ".join(part for part in (self.excused or self.skipped, self.message) if part)
        return f"{word:8}{self.subject}: {self.law}" + (f" ({tail})" if tail else "")


@dataclass(frozen=True)
class Law:
    """One law: its name, its sentence, and the tag that an implementation must carry to be asked (None = everyone)."""

    name: str
    text: str
    tag: str | None
    check: Callable[[Any], None]


@dataclass(frozen=True)
class Case:
    """One law asked of one implementation; `str(case)` is its id for pytest."""

    suite: Suite
    law: Law
    name: str
    subject: Any

    def __str__(self) -> str:
        return f"{self.name}-{self.law.name}"

    def run(self) -> Result:
        """Ask, and never raise: what the law raised is the result's message."""
        excuse = getattr(self.subject, "excuses", {}).get(self.law.name)
        if excuse is not None and not excuse.strip():
            return Result(self.law.name, self.name, False, None, "an excuse needs a written reason")
        try:
            with self.suite.prepare(self.subject) as prepared:
                self.law.check(prepared)
        except NotApplicable as reason:
            return Result(self.law.name, self.name, True, excuse, skipped=str(reason))
        except Exception as error:  # whatever a plugin raises is an answer
            message = f"{type(error).__name__}: {str(error) or self.law.text}"
            return Result(self.law.name, self.name, excuse is not None, excuse, message)
        if excuse is not None:
            return Result(self.law.name, self.name, False, excuse, "the law holds: take the excuse away")
        return Result(self.law.name, self.name, True)

    def check(self) -> Result:
        """Ask, and raise `AssertionError` unless the result is ok: the body of a parametrised test."""
        result = self.run()
        if not result.ok:
            raise AssertionError(str(result))
        return result


class Suite:
    """The laws of one registry kind.

    `prepare(implementation)` is a context manager around each law: it gives what the law is called with (a fresh
    store in a temporary directory, an instance of a factory) and cleans up; by default the implementation itself.

    >>> suite = Suite("states")
    >>> @suite.law()
    ... def has_a_name(state):
    ...     '''A state has a name.'''
    ...     assert state.name
    >>> print(suite.run(["moments"])[0])
    ok      moments: has_a_name

    In a test module::

        @pytest.mark.parametrize("case", SUITE.cases(), ids=str)
        def test_contract(case):
            case.check()
    """

    def __init__(self, kind: str, prepare: Callable[[Any], AbstractContextManager[Any]] = nullcontext) -> None:
        self.kind = kind
        self.prepare = prepare
        self.laws: list[Law] = []

    def law(self, tag: str | None = None) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        """Register a law; asked of everyone, or of those who carry `tag`. Its docstring is the law's sentence."""

        def register(check: Callable[[Any], None]) -> Callable[[Any], None]:
            text = (check.__doc__ or "").strip().partition("\n")[0]
            self.laws.append(Law(check.__name__, text, tag, check))
            return check

        return register

    def cases(self, names: Iterable[str] | None = None) -> list[Case]:
        """Every case of the named implementations: registered names or ``module:attribute``; None = all registered."""
        chosen = registry.names(self.kind) if names is None else list(names)
        return [case for name in chosen for case in self.cases_of(name, resolve(self.kind, name))]

    def cases_of(self, name: str, subject: Any) -> Iterator[Case]:
        """The cases of an implementation at hand, registered or not."""
        tags: frozenset[str] = getattr(subject, "tags", frozenset())
        laws = [law for law in self.laws if law.tag is None or law.tag in tags]
        yield from (Case(self, law, name, subject) for law in laws)
        for excuse in sorted(set(getattr(subject, "excuses", {})) - {law.name for law in laws}):
            yield Case(self, Law(excuse, "An excuse names a law that is asked.", None, _unknown), name, subject)

    def run(self, names: Iterable[str] | None = None) -> list[Result]:
        """The results of all cases: what `incumbent check` prints."""
        return [case.run() for case in self.cases(names)]


def resolve(kind: str, name: str) -> Any:
    """The implementation behind a registered name, or behind ``module:attribute`` for one that is not registered."""
    module, colon, attribute = name.partition(":")
    if not colon:
        return registry.load(kind, name)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise NotFoundError("no such implementation", got=name, expected="a registered name or module:attribute",
                            hint=str(error)) from None


def _unknown(subject: Any) -> None:
    """The law of an excuse that excuses nothing: it holds, so that the excuse is reported."""
