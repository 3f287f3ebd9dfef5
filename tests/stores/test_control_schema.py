"""The schema of Control: migrations, starting at once, newer databases, what a gateway imports and pays."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from incumbent.errors import StoreError
from incumbent.events.plan import ServingPlan
from incumbent.stores.control import FILE, SqlControl
from incumbent.stores.control_engine import Database, alembic_config
from incumbent.stores.control_tables import HEAD, metadata


@pytest.fixture
def database(tmp_path):
    made = Database(f"sqlite:///{tmp_path / FILE}")
    made.upgrade()
    yield made
    made.close()


def test_the_tables_are_those_of_the_migrations(database):
    """`alembic check`: nothing that the tables say is missing from the migrations."""
    with database.write() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.check(config)


def test_a_forgotten_migration_is_noticed(database):
    with database.write() as connection:
        connection.execute(sa.text("ALTER TABLE cursors ADD COLUMN extra TEXT"))
        config = alembic_config()
        config.attributes["connection"] = connection
        with pytest.raises(Exception, match="New upgrade operations"):
            command.check(config)


def test_head_is_the_newest_migration(database):
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [HEAD]
    assert database.revision() == HEAD


def test_migrations_go_down_and_up(database):
    with database.write() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        left = set(sa.inspect(connection).get_table_names()) - {"alembic_version", "sqlite_sequence"}
        assert left == set()
        command.upgrade(config, "head")
        assert set(metadata.tables) <= set(sa.inspect(connection).get_table_names())


def test_the_schema_is_good_for_postgresql():
    """Every table and index compiles for PostgreSQL, and text keys compare by bytes there."""
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateIndex, CreateTable

    statements = [str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in metadata.tables.values()]
    statements += [str(CreateIndex(index).compile(dialect=postgresql.dialect()))
                   for table in metadata.tables.values() for index in table.indexes]
    text = "\n".join(statements)
    assert 'COLLATE "C"' in text and "TIMESTAMP WITH TIME ZONE" in text and "JSONB" in text
    names = [item.name for table in metadata.tables.values() for item in (*table.constraints, *table.indexes)]
    assert all(names) and len(set(names)) == len(names)


def test_a_newer_database_is_refused(database, tmp_path):
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer than this program"):
        SqlControl.in_directory(tmp_path)


_START = """
import sys
from pathlib import Path
from incumbent.stores.control import SqlControl
control = SqlControl.in_directory(Path(sys.argv[1]))
for i in range(20):
    control.set_cursor(sys.argv[2], str(i))
print(control.cursor(sys.argv[2]))
control.close()
"""


def test_processes_start_at_once_on_a_new_directory(tmp_path):
    started = [subprocess.Popen([sys.executable, "-c", _START, str(tmp_path / "new"), f"c{i}"], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE) for i in range(3)]
    for process in started:
        out, error = process.communicate(timeout=120)
        assert (process.returncode, out.strip()) == (0, "19"), error[-2000:]


_GATEWAY = """
import sys
from incumbent import config
from incumbent.clock import SystemClock
from incumbent.stores.embedded import open_stores
stores = open_stores(config.parse({"stores": {"directory": sys.argv[1]}}), SystemClock(), role="gateway")
heavy = {"numpy", "scipy", "pyarrow", "deltalake", "duckdb", "narwhals", "pandas", "alembic"} & set(sys.modules)
print(stores.lake, sorted(heavy))
stores.close()
"""


def test_a_gateway_imports_nothing_heavy(database, tmp_path):
    done = subprocess.run([sys.executable, "-c", _GATEWAY, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "None []", done.stdout + done.stderr[-2000:]


def test_a_poll_costs_well_under_a_millisecond(tmp_path):
    control = SqlControl.in_directory(tmp_path)
    control.publish(ServingPlan(version=0, time=None, surfaces={}, models={}))
    for poll in (control.plan_version, control.exclusions):
        poll()
        started = time.process_time()
        for _ in range(300):
            poll()
        cost_s = (time.process_time() - started) / 300
        assert cost_s < 0.001, f"{cost_s * 1e6:.0f} us of CPU a poll"
    control.close()


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        SqlControl.in_directory(tmp_path / "file")


def test_a_lock_that_cannot_be_opened(tmp_path):
    (tmp_path / "control.sqlite.lock").mkdir()  # root may write whatever the modes say
    with pytest.raises(StoreError, match="lock of the control database cannot be opened"):
        SqlControl.in_directory(tmp_path)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / FILE).write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="control database failed"):
        SqlControl.in_directory(tmp_path)


def test_what_was_excluded_before_its_history_was_kept_holds_since_then(tmp_path):
    held = Database(f"sqlite:///{tmp_path / FILE}")
    config = alembic_config()
    with held.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for item, excluded in (("i1", 1), ("i2", 0)):
            connection.execute(sa.text("INSERT INTO exclusions (user_id, kind, item_id, excluded, at, version) VALUES "
                                       f"('u1', 'item', '{item}', {excluded}, '2026-03-01 00:00:00.000000', 1)"))
        command.upgrade(config, "head")
    held.close()
    control, began = SqlControl.in_directory(tmp_path), datetime(2026, 3, 1, tzinfo=UTC)
    assert control.excluded_spans() == {"u1": {"i1": ((began, None),)}}
    control.exclude("u1", "i1", began + timedelta(days=1), excluded=False)
    control.exclude("u1", "i2", began + timedelta(days=1))
    assert control.excluded_spans() == {"u1": {"i1": ((began, began + timedelta(days=1)),),
                                               "i2": ((began + timedelta(days=1), None),)}}
    control.close()
