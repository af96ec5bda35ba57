# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import uuid
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import UniqueConstraint, create_engine, delete, insert, inspect, select, text, update
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger import engine, schema
from airflow_provider_jimeng.ledger.store import Ledger

from tests.ledger.kit import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Table
    from sqlalchemy.engine import Engine

SCHEMA = Path(__file__).parents[1] / "data" / f"ledger-schema-{schema.SCHEMA_VERSION}.txt"


@pytest.fixture
def opened(empty_url: str):
    """Return a database that a ledger was made in, as somebody else sees it."""
    ledger = Ledger.open(empty_url)
    foreign = create_engine(empty_url)
    yield foreign
    foreign.dispose()
    ledger.close()


def reopened(foreign: Engine) -> Ledger:
    """Open the ledger as a process would that never saw it."""
    engine._registry.after_fork()
    return Ledger.open(foreign.url.render_as_string(hide_password=False))


def put(foreign: Engine, name: str, value: str) -> None:
    with foreign.begin() as conn:
        conn.execute(update(schema.meta).where(schema.meta.c.name == name).values(value=value))


def test_the_first_use_makes_the_tables_and_an_identity_that_lasts(opened: Engine):
    names = set(inspect(opened).get_table_names())
    assert names >= {f"jimeng_{name}" for name in ("tasks", "landings", "limits", "waiters", "meta")}
    first = reopened(opened)
    assert str(uuid.UUID(first.uuid)) == first.uuid
    assert reopened(opened).uuid == first.uuid
    with opened.connect() as conn:
        version = conn.execute(
            select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
        ).scalar_one()
    assert version == str(schema.SCHEMA_VERSION)


def test_a_ledger_is_made_by_whatever_is_asked_first(empty_url: str):
    ledger = Ledger(empty_url)
    assert ledger.latest("never") is None
    ledger.close()


def test_a_ledger_of_a_newer_release_is_refused(opened: Engine):
    put(opened, "schema_version", "99")
    with pytest.raises(JimengLedgerError, match=r"newer release \(schema 99.*Upgrade"):
        reopened(opened)


@pytest.mark.parametrize(("name", "value"), [("schema_version", "one"), ("uuid", "not one")])
def test_a_damaged_identity_is_an_error_and_never_a_fresh_start(opened: Engine, name: str, value: str):
    put(opened, name, value)
    with pytest.raises(JimengLedgerError, match="damaged"):
        reopened(opened)


def test_a_ledger_that_lost_its_identity_is_an_error_and_never_a_fresh_start(opened: Engine):
    with opened.begin() as conn:
        conn.execute(delete(schema.meta))
    with pytest.raises(JimengLedgerError, match="damaged"):
        reopened(opened)


def test_tables_that_somebody_emptied_the_schema_of_are_an_error(opened: Engine):
    with opened.begin() as conn:
        conn.execute(text("DROP TABLE jimeng_limits"))
    ledger = reopened(opened)
    with pytest.raises(JimengLedgerError, match="jimeng_limits"):
        ledger.claim(Bench(str(opened.url)).request())


def test_an_older_schema_is_brought_up_step_by_step_and_keeps_its_rows(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
):
    bench = Bench(empty_url)
    before = bench.landed()
    identity = bench.ledger.uuid
    bench.ledger.close()
    steps: list[int] = []

    def step(version: int):
        def run(conn) -> None:
            steps.append(version)
            conn.execute(text(f"CREATE TABLE jimeng_later_{version} (n INTEGER)"))

        return run

    monkeypatch.setattr(schema, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(schema, "MIGRATIONS", MappingProxyType({1: step(1), 2: step(2)}))
    foreign = create_engine(empty_url)
    for _ in range(2):
        ledger = reopened(foreign)
        assert (ledger.uuid, steps) == (identity, [1, 2])
    assert ledger.get(before.id) == before
    assert {"jimeng_later_1", "jimeng_later_2"} <= set(inspect(foreign).get_table_names())
    ledger.close()
    foreign.dispose()


def test_a_migration_that_fails_leaves_the_old_schema(empty_url: str, monkeypatch: pytest.MonkeyPatch):
    Ledger.open(empty_url).close()

    def broken(conn) -> None:
        conn.execute(text("CREATE TABLE jimeng_half (n INTEGER)"))
        conn.execute(text("SELECT * FROM nowhere"))

    foreign = create_engine(empty_url)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "SCHEMA_VERSION", 2)
        patch.setattr(schema, "MIGRATIONS", MappingProxyType({1: broken}))
        with pytest.raises(JimengLedgerError, match="nowhere"):
            reopened(foreign)
    # MySQL's DDL commits by itself: there a step has to bear being repeated.
    leftovers = {"jimeng_half"} if foreign.dialect.name == "mysql" else set()
    assert {"jimeng_half"} & set(inspect(foreign).get_table_names()) == leftovers
    assert reopened(foreign).uuid
    foreign.dispose()


def test_who_only_reads_makes_no_ledger_and_migrates_none(empty_url: str, monkeypatch: pytest.MonkeyPatch):
    database = engine.Database(empty_url)
    assert not database.is_ready()
    assert not database.holds_ledger()
    Ledger.open(empty_url).close()
    assert database.is_ready()
    later = engine.Database(empty_url)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "SCHEMA_VERSION", 2)
        patch.setattr(schema, "MIGRATIONS", MappingProxyType({1: lambda conn: None}))
        assert not later.is_ready()
    assert later.is_ready()
    for each in (database, later):
        each.dispose()


def described(table: Table) -> Iterator[str]:
    """Yield a line for each thing of a table that a database keeps."""
    kinds = (postgresql.dialect(), mysql.dialect(), sqlite.dialect())
    for column in table.columns:
        types = " | ".join(column.type.compile(dialect=kind) for kind in kinds)
        null = "NULL" if column.nullable else "NOT NULL"
        marks = [name for name in ("primary_key", "unique", "index") if getattr(column, name)]
        yield " ".join([table.name, column.name, types, null, *marks])
    for index in sorted(table.indexes, key=lambda each: str(each.name)):
        kind = "unique index" if index.unique else "index"
        yield f"{table.name} {kind} {[column.name for column in index.columns]} {dict(index.dialect_kwargs)}"
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield f"{table.name} unique {constraint.name} {[column.name for column in constraint.columns]}"
    yield f"{table.name} {dict(sorted(table.dialect_kwargs.items()))}"


def test_the_tables_are_those_of_their_version():
    """Another table is another version, with a migration: ledgers of this one stand in people's databases."""
    found = sorted(line for table in schema.metadata.tables.values() for line in described(table))
    assert found == SCHEMA.read_text(encoding="utf-8").splitlines()


def test_two_live_rows_for_one_key_are_impossible(bench: Bench):
    row = bench.claimed()
    (values,) = [dict(each._mapping) for each in bench.rows()]
    del values["id"]
    with pytest.raises(JimengLedgerError):
        bench.write(insert(schema.tasks).values(**{**values, "attempt": 2}))
    assert [each.id for each in bench.rows()] == [row.id]


def test_a_row_in_a_state_of_a_newer_release_is_an_error(bench: Bench):
    row = bench.claimed()
    bench.write(update(schema.tasks).where(schema.tasks.c.id == row.id).values(state="dreaming"))
    with pytest.raises(JimengLedgerError, match="'dreaming'"):
        bench.ledger.latest(row.content_key)
    # The database is shared by the session, and `stats` counts all of it.
    bench.write(update(schema.tasks).where(schema.tasks.c.id == row.id).values(state="intent"))


def test_mysql_takes_the_tables():
    dialect = mysql.dialect()
    for table in schema.metadata.sorted_tables:
        made = str(CreateTable(table).compile(dialect=dialect))
        assert "ENGINE=InnoDB" in made
        assert "utf8mb4_bin" in made
        for index in table.indexes:
            # InnoDB indexes 3072 bytes, four per character at most.
            length = sum(getattr(column.type, "length", None) or 2 for column in index.columns)
            assert length * 4 <= 3072
            assert str(CreateIndex(index).compile(dialect=dialect))
    tasks = str(CreateTable(schema.tasks).compile(dialect=dialect))
    assert "inputs LONGTEXT" in tasks
    assert "id BIGINT NOT NULL AUTO_INCREMENT" in tasks


class FakeMysql:
    """What the creation lock sees of a MySQL connection."""

    class dialect:
        name = "mysql"

    def __init__(self) -> None:
        self.said: list[str] = []

    def execute(self, statement, parameters=None):
        self.said.append(str(statement).split("(")[0])


@pytest.mark.parametrize("fails", [False, True])
def test_mysql_holds_a_named_lock_while_it_makes_the_tables(monkeypatch: pytest.MonkeyPatch, fails: bool):
    conn = FakeMysql()

    def make(given):
        given.said.append("made")
        if fails:
            raise RuntimeError("no")
        return "uuid"

    monkeypatch.setattr(schema, "_create_or_migrate", make)
    if fails:
        with pytest.raises(RuntimeError):
            schema.create_or_migrate(conn)  # type: ignore[arg-type]
    else:
        assert schema.create_or_migrate(conn) == "uuid"  # type: ignore[arg-type]
    assert conn.said == ["SELECT GET_LOCK", "made", "SELECT RELEASE_LOCK"]
