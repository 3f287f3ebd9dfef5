"""Control through SQLAlchemy Core: one schema, SQLite by default."""

from __future__ import annotations

from pathlib import Path

from incumbent.errors import StoreError
from incumbent.stores.control_baselines import ControlBaselines
from incumbent.stores.control_conclusions import ControlConclusions
from incumbent.stores.control_engine import Database
from incumbent.stores.control_maturity import ControlMaturity
from incumbent.stores.control_plans import ControlPlans
from incumbent.stores.control_states import ControlStates
from incumbent.stores.plan_files import PlanFiles

FILE = "control.sqlite"


class SqlControl(ControlStates, ControlPlans, ControlConclusions, ControlMaturity, ControlBaselines):
    """Control in one database; each verb is one transaction, and any number of processes may share it.

    Opening brings the schema up to date. `StoreError` where the database cannot be opened, written or is newer than
    the program; `ConflictError` where two writers meant the same row.

    >>> control = SqlControl("sqlite://")
    >>> control.set_cursor("attribute", "17")
    >>> control.cursor("attribute")
    '17'
    """

    tags = frozenset({"sql"})

    def __init__(self, url: str, *, directory: Path | None = None) -> None:
        self._db = Database(url)
        self._db.upgrade()
        self._files = PlanFiles(directory) if directory is not None else None

    @classmethod
    def in_directory(cls, directory: Path) -> SqlControl:
        """The embedded Control: ``DIRECTORY/control.sqlite``, its plans also in ``DIRECTORY/plans/``."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError("the directory of the control database cannot be made", got=str(directory),
                             hint=str(error.strerror)) from None
        return cls(f"sqlite:///{(directory / FILE).absolute()}", directory=directory)

    def close(self) -> None:
        """Close all connections."""
        self._db.close()
