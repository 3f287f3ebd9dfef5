"""Published plans beside the database, by hash: they outlive a Control that is put back from an older copy."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from incumbent.errors import StoreError
from incumbent.events.plan import ServingPlan
from incumbent.stores.sync import sync_directory, write_file

FOLDER = "plans"
_log = logging.getLogger("incumbent.stores")


class PlanFiles:
    """``DIRECTORY/plans/HASH.json``, each written once; plans hold no user ids, so that none is ever erased.

    >>> import tempfile
    >>> files, plan = PlanFiles(Path(tempfile.mkdtemp())), ServingPlan(version=1, time=None, surfaces={}, models={})
    >>> files.keep(plan)
    >>> files.find(plan.hash) == plan, files.find("0" * 16)
    (True, None)
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._folder = directory / FOLDER

    def keep(self, plan: ServingPlan) -> None:
        """Write a plan that is not there yet, synced and whole or not at all; one writer at a time. `StoreError` where
        the disk refuses."""
        path = self._folder / f"{plan.hash}.json"
        if path.exists():
            return
        unfinished = path.with_suffix(".new")
        try:
            self._folder.mkdir(exist_ok=True)
            unfinished.unlink(missing_ok=True)  # of a process that died
            write_file(unfinished, msgspec.json.encode(plan))
            unfinished.rename(path)
            sync_directory(self._folder)
            sync_directory(self._directory)
        except OSError as error:
            raise StoreError("a plan cannot be written", got=str(path), hint=str(error.strerror),
                             expected="a directory that this process may write to") from None

    def find(self, hash: str) -> ServingPlan | None:
        """The plan of a hash, None where none was kept or its file is damaged (which is logged)."""
        if not hash.isalnum():  # a log may hold anything; a hash is no path
            return None
        path = self._folder / f"{hash}.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=ServingPlan).carrying(hash)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            _log.error("the plan in %s cannot be read: %s", path, error)
            return None
