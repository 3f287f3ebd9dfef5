"""Exit codes of the command line and of every process of a service; and what is said where a part is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from incumbent.errors import (
    AuthError,
    ConfigError,
    ConflictError,
    DataError,
    IncumbentError,
    NotFoundError,
    StoreError,
    TooLargeError,
)

#: the packages that `incumbent[local]` adds to the base install
LOCAL = frozenset({"numpy", "scipy", "pyarrow", "deltalake", "duckdb", "narwhals", "jinja2", "vl_convert"})
_CODES: tuple[tuple[type[IncumbentError], int], ...] = (
    (ConfigError, 2), (DataError, 2), (TooLargeError, 2), (NotFoundError, 2), (AuthError, 2), (ConflictError, 3),
    (StoreError, 4))
#: of `incumbent evaluate`: it was carried out, and an expectation does not hold
EXPECTATION_FAILED = 6
#: of an off-policy evaluation: the log does not carry an estimate
REFUSED = 5


def exit_code(error: IncumbentError) -> int:
    """2 for bad input, a key or a configuration, 3 for a conflict, 4 for a store, 1 for anything else.

    >>> exit_code(ConflictError("the port is taken"))
    3
    """
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


def comparison_code(status: str) -> int:
    """What `incumbent drift compare` ends with: 0 ok, 1 drift, 2 a column that cannot be compared, 5 nothing judged.

    >>> [comparison_code(status) for status in ("ok", "drift", "invalid", "no_data")]
    [0, 1, 2, 5]
    """
    return {"ok": 0, "drift": 1, "invalid": 2}.get(status, 5)


@contextmanager
def local_parts(what: str) -> Iterator[None]:
    """Turn a missing package of `incumbent[local]` (lake, engine, page) into the sentence that says how to install it.

    >>> with local_parts("the report"):
    ...     import pyarrow_of_another_name
    Traceback (most recent call last):
    ...
    ModuleNotFoundError: No module named 'pyarrow_of_another_name'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in LOCAL:
            raise
        raise ConfigError(f"{what} needs the local parts", got=f"no {error.name}",
                          hint="pip install 'incumbent[local]', or ask a service by --url") from None
