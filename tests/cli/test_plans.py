# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A list of a few rows costs the same in a ledger of any size: no query reads a table through, none "
"sorts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from airflow_provider_jimeng.ledger import listing, upkeep
from airflow_provider_jimeng.ledger.admin import LedgerAdmin
from airflow_provider_jimeng.ledger.census import census
from airflow_provider_jimeng.ledger.engine import database_for
from airflow_provider_jimeng.ledger.records import Scope
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ledger.views import typical_seconds

from tests.cli.million import ENDPOINT, REQ_KEYS, make

ROWS = 3000


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db"
    make(made, ROWS)
    return made


@pytest.fixture
def plans(url: str) -> Callable[[Callable[[Any], object]], list[str]]:
    """Return what tells the plan of every query that some work makes."""

    def of(work: Callable[[Any], object]) -> list[str]:
        found: list[str] = []

        def explain(conn: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
            if statement.startswith("SELECT") and "jimeng_" in statement:
                rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
                found.extend(row[3] for row in rows)

        def watched(conn: Any) -> None:
            event.listen(conn, "before_cursor_execute", explain)
            work(conn)

        database_for(url).read(watched)
        assert found
        return found

    return of


FILTERS = {
    "all": listing.Wanted(),
    "state": listing.Wanted(states=frozenset({TaskState.UNKNOWN})),
    "account": listing.Wanted(account="rare"),
    "account and state": listing.Wanted(account="acme-main", states=frozenset({TaskState.UNKNOWN})),
    "dag": listing.Wanted(dag_id="dag_7"),
    "age": listing.Wanted(older_than=9e6, newer_than=9e7),
}


@pytest.mark.parametrize("after", [None, (1.7e9, 500)])
@pytest.mark.parametrize("name", FILTERS)
def test_a_page_walks_an_index(plans: Any, name: str, after: tuple[float, int] | None):
    found = plans(lambda conn: listing.newest_first(conn, FILTERS[name], after=after, limit=50))
    assert [line for line in found if not line.startswith("SEARCH jimeng_tasks USING INDEX")] == []


def test_stats_read_no_rows_but_todays_and_open_ones(plans: Any):
    found = plans(lambda conn: census(conn, "acme-main"))
    assert [line for line in found if "SCAN jimeng_tasks" in line] == []
    assert any("COVERING INDEX jimeng_tasks_scope" in line for line in found)


@pytest.mark.parametrize("account", [None, "rare"])
def test_pruning_walks_an_index(plans: Any, account: str | None):
    what = upkeep.Prunable(account, 1.7e9, True)
    assert [line for line in plans(lambda conn: upkeep.prunable(conn, what)) if "SCAN" in line] == []
    found = plans(lambda conn: upkeep.prune_some(conn, upkeep.Prunable(account, 1.0, True), limit=10))
    assert [line for line in found if not line.startswith("SEARCH")] == []


def test_a_claim_looks_at_few_of_the_successes(plans: Any):
    scope = Scope("acme-main", ENDPOINT, REQ_KEYS[0])
    found = plans(lambda conn: typical_seconds(conn, scope))
    assert {line.partition(" (")[0] for line in found} == {
        "SEARCH jimeng_tasks USING COVERING INDEX jimeng_tasks_recent"
    }


def test_names_are_looked_up(plans: Any):
    for work in (
        lambda conn: listing.with_key_prefix(conn, "abcdef01", 3),
        lambda conn: listing.landings_by_key(conn, ["a", "b"]),
    ):
        assert [line for line in plans(work) if "SCAN" in line] == []


def test_the_made_ledger_is_like_a_real_one(url: str):
    found = LedgerAdmin(url).census()
    assert {each.account for each in found} == {"acme-main", "acme-test", "studio", "rare"}
    counts = [sum(scope.counts.values()) for each in found for scope in each.scopes]
    assert sum(counts) == ROWS
    assert {scope.scope.endpoint for each in found for scope in each.scopes} == {ENDPOINT}
