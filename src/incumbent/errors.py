"""One shape of error everywhere: what, got, expected, hint."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

_MISSING: Any = object()


class IncumbentError(Exception):
    """An error that says what went wrong, what was got, what was expected, and what to do.

    Rendered as ``WHAT. Got GOT. Expected EXPECTED. Hint: HINT``; absent parts are left out.
    `field` is the path of the offending value (``events[3].value_minor``, ``surfaces.home.champion``).

    >>> print(DataError("share must be in (0, 1)", got=1.5, hint="5 % is 0.05"))
    share must be in (0, 1). Got 1.5. Hint: 5 % is 0.05.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500  # the HTTP status a surface answers with

    def __init__(
        self, what: str, *, got: Any = _MISSING, expected: str | None = None, hint: str | None = None,
        field: str | None = None,
    ) -> None:
        self.what = what.rstrip(".")
        self.got = None if got is _MISSING else shorten(got)
        self.expected = expected
        self.hint = hint
        self.field = field
        parts = [self.what]
        if self.got is not None:
            parts.append(f"Got {self.got}")
        if expected:
            parts.append(f"Expected {expected.rstrip('.')}")
        if hint:
            parts.append(f"Hint: {hint.rstrip('.')}")
        super().__init__(". ".join(parts) + ("" if parts[-1].endswith("?") else "."))

    def to_dict(self) -> dict[str, Any]:
        """The one documented JSON shape of an error: ``{"error": {code, what, got, expected, hint, field}}``."""
        return {"error": {"code": self.code, "what": self.what, "got": self.got, "expected": self.expected,
                          "hint": self.hint, "field": self.field}}


def near(name: str, known: Iterable[str]) -> str | None:
    """The hint that names the nearest of the known names; None where none is near.

    >>> near("favorites", ["favourites", "ranker"])
    "did you mean 'favourites'?"
    """
    found = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {found[0]!r}?" if found else None


class Quoted(str):
    """What another process has got, in its own quotes: shown as it is.

    >>> print(DataError("no such surface", got=Quoted("'hoem'")))
    no such surface. Got 'hoem'.
    """


def shorten(value: Any, limit: int = 120) -> str:
    """The repr of a value, cut to `limit` characters so that an error never carries a megabyte back, nor makes one.

    What has no repr (nested too deep, a number of 5,000 digits) is named by its type.
    """
    try:
        if isinstance(value, Quoted):
            text = str(value)
        else:
            text = repr(value[: limit * 2]) if isinstance(value, str | bytes) else _brief.repr(value)
    except Exception:  # an error about a value must not fail on that value
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


_brief = reprlib.Repr()
_brief.maxlevel = 6
_brief.maxlist = _brief.maxtuple = _brief.maxdict = _brief.maxset = _brief.maxfrozenset = _brief.maxdeque = 40
_brief.maxstring = _brief.maxlong = _brief.maxother = 240


class ConfigError(IncumbentError):
    """The configuration cannot be used; `problems` holds every mistake found, not the first."""

    code, status = "config", 500

    def __init__(self, what: str, *, problems: tuple[str, ...] = (), **parts: Any) -> None:
        super().__init__(what, **parts)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  - {problem}" for problem in self.problems)])


class DataError(IncumbentError):
    """A value that came from outside is not usable."""

    code, status = "invalid", 422


class TooLargeError(IncumbentError):
    """A body, batch or field is over its stated limit."""

    code, status = "too_large", 413


class AuthError(IncumbentError):
    """No key, or a key that does not open this door."""

    code, status = "unauthorized", 401


class NotFoundError(IncumbentError):
    """The named thing does not exist."""

    code, status = "not_found", 404


class ConflictError(IncumbentError):
    """The request is sound but contradicts the state as it stands (a second service on one directory)."""

    code, status = "conflict", 409


class StoreError(IncumbentError):
    """A store could not do what it promises: disk full, read-only, corrupt."""

    code, status = "store", 503


class UnavailableError(IncumbentError):
    """A dependency did not answer in time; trying again may succeed."""

    code, status = "unavailable", 503


class StateError(IncumbentError):
    """Two states that do not add: different classes, configurations or versions."""

    code, status = "state", 500


_KINDS: dict[str, type[IncumbentError]] = {kind.code: kind for kind in (
    AuthError, ConfigError, ConflictError, DataError, NotFoundError, StateError, StoreError, TooLargeError,
    UnavailableError)}


def heard(told: Mapping[str, Any], status: int, kind: Callable[..., IncumbentError] | None = None) -> IncumbentError:
    """The error that another process answered with, as if it had happened here; of `kind`, else by its code.

    `KeyError` or `TypeError` for what is no such answer.

    >>> error = heard({"what": "no such surface", "code": "not_found", "got": "'hoem'"}, 404)
    >>> type(error).__name__, str(error)
    ('NotFoundError', "no such surface. Got 'hoem'.")
    """
    parts: dict[str, Any] = {name: told.get(name) for name in ("expected", "hint", "field")}
    if told.get("got") is not None:
        parts["got"] = Quoted(told["got"])
    made = kind or _KINDS.get(str(told.get("code")), DataError if status < 500 else IncumbentError)
    return made(told["what"], **parts)
