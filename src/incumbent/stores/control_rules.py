"""What every Control does alike, without a database: names of conclusions, the order of a seal, and its refusals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

import msgspec

from incumbent.errors import ConflictError
from incumbent.events.schema import Conclusion, Decision
from incumbent.stores.store import ExperimentRow, Matured, Seal


def kind_of(conclusion: Conclusion) -> str:
    """The tag of a conclusion: finding, decision, alert or audit."""
    return str(conclusion.__struct_config__.tag)


def subject_of(conclusion: Conclusion) -> str:
    """What a conclusion is about: the experiment of a decision, else its subject."""
    return conclusion.experiment if isinstance(conclusion, Decision) else conclusion.subject


def stale(row: ExperimentRow) -> ConflictError:
    """The error of a writer who had read an older version."""
    return ConflictError("the experiment was changed by somebody else", got=f"{row.name}, version {row.version}",
                         expected="the stored version plus one", hint="read it again and decide again")


def in_order(rows: Sequence[Matured]) -> list[Matured]:
    """The rows of a seal in the order in which the sequence reads them, their times in UTC; `ConflictError` where a
    unit stands there twice."""
    if len({row.unit for row in rows}) < len(rows):
        raise ConflictError("a unit matures once", got=f"{len(rows)} rows of fewer units")
    utc = [msgspec.structs.replace(row, exposed_at=row.exposed_at.astimezone(UTC),
                                   matured_at=row.matured_at.astimezone(UTC)) for row in rows]
    return sorted(utc, key=lambda row: (row.matured_at, row.unit))


def sealed_differently(first: Seal, digest: str) -> ConflictError:
    """The error of a second, different seal of a day."""
    return ConflictError("this maturity day is sealed with other rows", got=f"{first.day}, hash {digest}",
                         expected=f"hash {first.hash}, sealed {first.sealed_at:%Y-%m-%d %H:%M}",
                         hint="what arrives after a seal goes to restate")
