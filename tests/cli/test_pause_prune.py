# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``ledger pause``, ``resume`` and ``prune``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from airflow_provider_jimeng.ledger.admin import LedgerAdmin
from airflow_provider_jimeng.ledger.schema import tasks
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import Bench, unique

if TYPE_CHECKING:
    import pytest

    from airflow_provider_jimeng.ledger.records import TaskRecord

    from tests.cli.conftest import Command

WHY = ("--reason", "end of the month")
DAY = 86400.0


def test_a_pause_stops_claims_and_a_resume_allows_them(bench: Bench, ledger: Command):
    bench.claimed()
    account = bench.scope.account
    done = ledger("pause", account, *WHY, "--yes")
    assert (done.code, done.out) == (0, f"Account {account} is paused.\n")
    assert "JimengSpendLimitError" in done.err
    assert "end of the month" in bench.refused().message
    again = ledger("resume", account, *WHY, "--yes", "--json")
    assert again.code == 0
    assert (again.lines[0]["account"], again.lines[0]["paused"]) == (account, False)
    assert "paused by " in again.err
    assert bench.claimed().state is TaskState.INTENT
    (found,) = LedgerAdmin(bench.url).census(account)
    assert [line.split()[1] for line in found.note.splitlines()] == ["paused", "resumed"]
    assert found.note.count("end of the month") == 2


def test_a_resume_closes_open_breakers(bench: Bench, ledger: Command):
    bench.claimed()
    bench.ledger.trip_breaker(bench.scope, "wrong key")
    done = ledger("resume", bench.scope.account, *WHY, "--yes")
    assert done.code == 0
    assert "circuit breaker of model" in done.err
    assert bench.claimed().state is TaskState.INTENT
    assert "breaker cleared by " in bench.limits_row().note
    assert bench.limits_row().note.endswith("end of the month")


def test_a_further_id_that_nobody_asked_about_in_time_is_expired_by_now_and_goes(
    bench: Bench, ledger: Command
):
    landed = bench.landed()
    late = bench.ledger.record_created(landed, unique("late-"))
    open_one = bench.submitted(configured_limit=3)
    bench.age(open_one, 3 * DAY)
    bench.age(late, 3 * DAY)
    bench.write(update(tasks).where(tasks.c.id == late.id).values(submitted_at=bench.ledger.now() - DAY / 3))
    young = ledger("prune", "--older-than", "1d", "--account", bench.scope.account, *WHY, "--yes")
    assert "nothing was changed" in young.err, "the vendor may still have it"

    bench.write(update(tasks).where(tasks.c.id == late.id).values(submitted_at=bench.ledger.now() - DAY))
    done = ledger("prune", "--older-than", "1d", "--account", bench.scope.account, *WHY, "--yes", "--json")
    assert [(line["state"], line["rows"]) for line in done.lines] == [("expired", 1)]
    assert [row.state for row in bench.rows()] == [TaskState.LANDED, TaskState.SUBMITTED]


def test_a_resume_tells_which_breakers_it_closed(bench: Bench):
    bench.claimed()
    bench.ledger.trip_breaker(bench.scope, "wrong key")
    admin = LedgerAdmin(bench.url)
    assert admin.resume(bench.scope.account, reason="a new key", by="me") == [bench.scope]
    assert admin.resume(bench.scope.account, reason="again", by="me") == []


def test_resuming_what_is_not_stopped_changes_nothing(bench: Bench, ledger: Command):
    bench.claimed()
    done = ledger("resume", bench.scope.account, *WHY)
    assert (done.code, done.out) == (0, "")
    assert "nothing was changed" in done.err


def test_a_mistyped_account_is_refused(bench: Bench, ledger: Command):
    bench.claimed()
    wrong = unique("typo-")
    done = ledger("pause", wrong, *WHY, "--yes")
    assert done.code == 1
    assert bench.scope.account in done.err
    assert wrong not in LedgerAdmin(bench.url).accounts()
    assert ledger("pause", wrong, "--unseen", *WHY, "--yes").code == 0
    assert wrong in LedgerAdmin(bench.url).accounts()


def test_switches_are_asked_for(bench: Bench, ledger: Command):
    bench.claimed()
    assert ledger("pause", bench.scope.account, *WHY).code == 3
    assert bench.claimed().state is TaskState.INTENT
    bench.ledger.pause(bench.scope.account, "me", "x")
    assert ledger("resume", bench.scope.account, *WHY).code == 3
    assert bench.refused().reason == "paused"


def test_an_account_is_named_once(ledger: Command):
    assert ledger("pause", *WHY, "--yes").code == 2
    assert ledger("pause", "acme", "--conn-id", "c", *WHY, "--yes").code == 2
    assert ledger("stats", "--account", "acme", "--conn-id", "c").code == 2


def test_an_account_by_its_connection(bench: Bench, ledger: Command, monkeypatch: pytest.MonkeyPatch):
    bench.claimed()
    account = bench.scope.account
    monkeypatch.setenv(
        "AIRFLOW_CONN_VENDOR_X",
        f'{{"conn_type":"volcengine","login":"AK","password":"SK","extra":{{"account":"{account}"}}}}',
    )
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    assert ledger("pause", "--conn-id", "vendor_x", *WHY, "--yes").code == 0
    assert bench.refused().reason == "paused"
    assert ledger("stats", "--conn-id", "vendor_x", "--json").lines[0]["account"] == account
    missing = ledger("stats", "--conn-id", "vendor_y")
    assert missing.code == 4
    assert "vendor_y" in missing.err


# -- prune


def finished(bench: Bench, days: float) -> dict[TaskState, TaskRecord]:
    rows = {}
    for state in TaskState:
        rows[state] = bench.in_state(state)
        if state in (TaskState.INTENT, TaskState.SUBMITTED, TaskState.UNKNOWN):
            # Their slots are needed for the next.
            bench.age(rows[state], 13 * 3600.0)
    moved = {
        name: tasks.c[name] - days * DAY for name in ("created_at", "sent_at", "finished_at", "landed_at")
    }
    bench.write(update(tasks).where(tasks.c.account == bench.scope.account).values(**moved))
    return rows


def left(bench: Bench) -> set[str]:
    return {row.state for row in bench.rows()}


def test_only_finished_rows_are_pruned(bench: Bench, ledger: Command):
    finished(bench, 100)
    done = ledger("prune", "--account", bench.scope.account, "--older-than", "90d", *WHY, "--yes")
    assert done.code == 0, done.err
    assert {line.split()[2]: line.split()[1] for line in done.out.splitlines()} == {
        "expired": "1",
        "failed": "1",
        "rejected": "1",
        "released": "1",
    }
    assert left(bench) >= {"submitted", "succeeded", "landed", "unknown"}
    assert left(bench).isdisjoint({"expired", "failed", "rejected", "released"})
    (found,) = LedgerAdmin(bench.url).census(bench.scope.account)
    assert "pruning of 1 expired, 1 failed, 1 rejected, 1 released begun by " in found.note
    assert "end of the month" in found.note


def test_landed_rows_go_with_their_landings_when_told(bench: Bench, ledger: Command):
    rows = finished(bench, 100)
    key = rows[TaskState.LANDED].content_key
    here = ("prune", "--account", bench.scope.account, "--older-than", "90d", *WHY)
    assert ledger(*here, "--yes").code == 0
    assert len(bench.ledger.landings(key)) == 1
    # Another attempt at the same content, landed today, keeps its own.
    newer = bench.landed(key, expected_latest=rows[TaskState.LANDED].id, supersede=True)
    done = ledger(*here, "--landed", "--yes", "--json")
    assert "PAYS AGAIN" in done.err
    assert [(line["state"], line["rows"], line["deleted"]) for line in done.lines] == [("landed", 1, True)]
    assert [each.attempt for each in bench.ledger.landings(key)] == [newer.attempt]
    assert left(bench) >= {"submitted", "succeeded", "unknown", "landed"}


def test_young_rows_stay(bench: Bench, ledger: Command):
    finished(bench, 80)
    old_start = bench.in_state(TaskState.FAILED)
    bench.write(
        update(tasks).where(tasks.c.id == old_start.id).values(created_at=tasks.c.created_at - 95 * DAY)
    )
    before = bench.rows()
    done = ledger("prune", "--account", bench.scope.account, "--older-than", "90d", "--landed", *WHY)
    assert (done.code, done.out) == (0, "")
    assert "nothing was changed" in done.err
    assert bench.rows() == before


def test_a_dry_run_counts_and_keeps(bench: Bench, ledger: Command):
    finished(bench, 100)
    before = bench.rows()
    done = ledger("prune", "--account", bench.scope.account, "--older-than", "90d", "--landed", "--dry-run")
    assert done.code == 0
    assert len(done.out.splitlines()) == 5
    assert "would be deleted" in done.out
    assert bench.rows() == before


def test_pruning_is_asked_for_and_needs_a_reason_and_a_day(bench: Bench, ledger: Command):
    finished(bench, 100)
    before = bench.rows()
    here = ("prune", "--account", bench.scope.account)
    assert ledger(*here, "--older-than", "90d", *WHY).code == 3
    assert ledger(*here, "--older-than", "90d", *WHY, typed="nope").code == 3
    assert ledger(*here, "--older-than", "90d", "--yes").code == 2
    assert ledger(*here, "--older-than", "23h", *WHY, "--yes").code == 2
    assert bench.rows() == before


def test_many_rows_go_in_several_transactions(bench: Bench, ledger: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("airflow_provider_jimeng.ledger.admin._BATCH", 2)
    for _ in range(5):
        bench.age(bench.in_state(TaskState.REJECTED), 2 * DAY)
    done = ledger("prune", "--account", bench.scope.account, "--older-than", "1d", *WHY, "--yes")
    assert done.out == f"{bench.scope.account}: 5 rejected rows deleted\n"
    assert "5 of 5 rows are gone" in done.err
    assert bench.rows() == []


def test_the_whole_ledger_is_pruned_without_an_account(bench: Bench, ledger: Command):
    bench.age(bench.in_state(TaskState.FAILED), 4000 * DAY)
    done = ledger("prune", "--older-than", "3999d", *WHY, "--yes")
    assert done.out == f"{bench.scope.account}: 1 failed rows deleted\n"
