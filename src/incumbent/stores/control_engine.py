"""The database under Control: an engine, its two kinds of transaction, and the upgrade of its schema."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError, IntegrityError, SQLAlchemyError

from incumbent.errors import ConflictError, StoreError
from incumbent.stores.control_tables import HEAD

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig

BUSY_S = 15.0
_SQLITE = ("synchronous = FULL", "secure_delete = ON", "foreign_keys = ON")


class Database:
    """An engine with `read` and `write`: on SQLite a write takes the writer's place at its start, so that it waits
    there (up to 15 s) and never fails half-way as "locked"."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        arguments: dict[str, Any] = {"timeout": BUSY_S, "check_same_thread": False} if self.is_sqlite else {}
        self.engine = sa.create_engine(self.url, connect_args=arguments)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare)
            event.listen(self.engine, "begin", _begin)
        self._writer = self.engine.execution_options(incumbent_write=True)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the database."""
        with self._explained(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is kept whole where the block ends, and undone where it raises."""
        with self._explained(), self._writer.begin() as connection:
            yield connection

    def upgrade(self) -> None:
        """Bring the schema to `HEAD`; on SQLite under a lock beside the file, so that services do not race."""
        with self._upgrade_lock():
            found = self.revision()
            if found == HEAD:
                return
            if self.is_sqlite:
                self._autocommit("PRAGMA journal_mode = WAL")  # kept in the file; needs it for itself alone
            if found is not None and found > HEAD:
                raise StoreError("the control database is newer than this program", got=f"schema {found}",
                                 expected=f"schema {HEAD} or older", hint="upgrade incumbent")
            from alembic import command

            with self.write() as connection:
                config = alembic_config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")

    def revision(self) -> str | None:
        """The migration that the database stands at, None where it is empty."""
        with self.read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
            return found

    def forget(self) -> None:
        """Fold SQLite's write-ahead log into the file, so that erased rows stand nowhere any more.

        `StoreError` where a reader kept it from that for 15 s: what was erased is still in the log then.
        """
        if self.is_sqlite and self._autocommit("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
            raise StoreError("the write-ahead log of control is in use and still holds what was erased",
                             got=self.url.render_as_string(hide_password=True),
                             hint="it is tried again; by hand, erase again")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _autocommit(self, pragma: str) -> list[Any]:
        """Run what SQLite refuses inside a transaction; its rows."""
        with self._explained():
            connection = self.engine.raw_connection()
            try:
                found: list[Any] = connection.cursor().execute(pragma).fetchall()
                return found
            finally:
                connection.close()

    @contextmanager
    def _upgrade_lock(self) -> Iterator[None]:
        if not self.is_sqlite or not self.url.database or self.url.database == ":memory:":
            yield
            return
        path = Path(f"{self.url.database}.lock")
        try:
            file = path.open("a")
        except OSError as error:
            raise StoreError("the lock of the control database cannot be opened", got=str(path),
                             expected="a directory that this process may write to", hint=str(error.strerror)) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        where = self.url.render_as_string(hide_password=True)
        try:
            yield
        except IntegrityError as error:
            raise ConflictError("somebody else wrote the same row first", got=str(error.orig)) from error
        except DatabaseError as error:
            raise StoreError("the control database failed", got=f"{where}: {error.orig}",
                             hint="nothing of this transaction was kept; see to space and access rights") from error
        except SQLAlchemyError as error:
            raise StoreError("the control database failed", got=f"{where}: {error}") from error


def alembic_config() -> AlembicConfig:
    """The configuration of the migrations that ship with the package."""
    from alembic.config import Config

    config = Config(stdout=sys.stderr)  # its default is the standard output of when it was imported
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin` does
    for pragma in _SQLITE:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("incumbent_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
