# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``ledger list``: the rows that were asked for, newest first, by the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.ledger.records import Provenance
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import Bench, unique

if TYPE_CHECKING:
    from tests.cli.conftest import Command


def test_rows_of_a_state(bench: Bench, ledger: Command):
    unknown, failed = bench.unknown(), bench.in_state(TaskState.FAILED)
    bench.landed()
    done = ledger("list", "--account", bench.scope.account, "--state", "unknown,failed", "--json")
    assert done.code == 0
    assert done.ids == [failed.id, unknown.id]
    assert [line["state"] for line in done.lines] == ["failed", "unknown"]


def test_a_table_for_people(bench: Bench, ledger: Command):
    row = bench.unknown()
    done = ledger("list", "--account", bench.scope.account, "--state", "unknown")
    head, line = done.out.splitlines()
    assert head.split()[:3] == ["ROW", "STATE", "AGE"]
    assert line.split()[:2] == [str(row.id), "unknown"]
    assert "dag.task[3]" in line
    assert row.content_key[:12] in line
    assert "no answer" in line


def test_a_long_message_is_cut_and_marks_are_shown(bench: Bench, ledger: Command):
    row = bench.ledger.record_expired(bench.submitted(), code=50500, message="gone " * 30)
    line = ledger("list", "--account", bench.scope.account).out.splitlines()[1]
    assert "expired (billed?)" in line
    assert "50500" in line
    assert line.endswith("…")
    assert bench.now(row).possibly_billed


def test_an_intent_whose_owner_fell_silent_counts_as_unknown(bench: Bench, ledger: Command):
    silent, fresh = bench.sent(), bench.sent()
    bench.age(silent, 100.0)
    found = ledger("list", "--account", bench.scope.account, "--state", "unknown", "--json")
    assert found.ids == [silent.id]
    assert found.lines[0]["silent"] is True
    assert "intent (silent)" in ledger("list", "--account", bench.scope.account, "--state", "unknown").out
    both = ledger("list", "--account", bench.scope.account, "--state", "intent,unknown", "--json")
    assert both.ids == [fresh.id, silent.id]


def test_rows_by_age(bench: Bench, ledger: Command):
    old, young = bench.submitted(), bench.submitted()
    bench.age(old, 7200.0)
    here = ("list", "--account", bench.scope.account, "--json")
    assert ledger(*here, "--older-than", "1h").ids == [old.id]
    assert ledger(*here, "--newer-than", "1h").ids == [young.id]
    assert ledger(*here, "--newer-than", "1d", "--older-than", "90m").ids == [old.id]


def test_rows_by_dag(bench: Bench, ledger: Command):
    name = unique("dag-")
    mine = bench.claimed(provenance=Provenance(name, "run", "task"))
    bench.claimed()
    done = ledger("list", "--dag-id", name, "--json")
    assert done.ids == [mine.id]
    assert done.lines[0]["map_index"] == -1
    assert f"{name}.task " in ledger("list", "--dag-id", name).out


def test_pages_meet_each_row_once(bench: Bench, ledger: Command):
    rows = [
        bench.in_state(state)
        for state in (TaskState.FAILED, TaskState.REJECTED, TaskState.LANDED, TaskState.EXPIRED)
        for _ in range(2)
    ]
    # Rows of one moment, and rows whose number and time disagree.
    bench.age(rows[3], 50.0)
    seen: list[int] = []
    more: list[object] = []
    while True:
        done = ledger("list", "--account", bench.scope.account, "--limit", 3, "--json", *more)
        seen += done.ids
        if "There are more" not in done.err:
            break
        assert f"--after {seen[-1]}" in done.err
        more = ["--after", seen[-1]]
    assert sorted(seen) == sorted(row.id for row in rows)
    assert seen[-1] == rows[3].id


def test_a_page_begins_after_rows_of_the_same_moment(bench: Bench, ledger: Command):
    rows = [bench.in_state(TaskState.FAILED) for _ in range(3)]
    from sqlalchemy import update

    from airflow_provider_jimeng.ledger.schema import tasks

    bench.write(update(tasks).where(tasks.c.account == bench.scope.account).values(created_at=1000.0))
    done = ledger("list", "--account", bench.scope.account, "--after", rows[2].id, "--json")
    assert done.ids == [rows[1].id, rows[0].id]


def test_no_row_is_no_error(bench: Bench, ledger: Command):
    done = ledger("list", "--account", unique("nobody-"))
    assert (done.code, done.out) == (0, "")
    assert "No rows" in done.err


def test_a_page_after_a_row_that_is_gone_is_refused(ledger: Command):
    done = ledger("list", "--after", 999_999_999)
    assert done.code == 1
    assert "is not in the ledger" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--state", "done"),
        ("--state", ","),
        ("--older-than", "90"),
        ("--older-than", "-1d"),
        ("--limit", "0"),
        ("--limit", "many"),
        ("--limit", "²"),
    ],
)
def test_bad_arguments_are_wrong_use(ledger: Command, arguments: tuple[str, ...]):
    with pytest.raises(SystemExit) as ended:
        ledger("list", *arguments)
    assert ended.value.code == 2


def test_nothing_moves_the_cursor_of_a_terminal(bench: Bench, ledger: Command):
    bench.claimed(provenance=Provenance("\x1b[31mred\u202e数据\x9b", "run", "task", 1))
    out = ledger("list", "--account", bench.scope.account).out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\x9b" not in out
    assert "\\x1b[31mred\\u202e数据\\x9b" in out
    assert ledger("list", "--account", bench.scope.account, "--json").out.isascii()


def test_a_page_shows_no_query_string(bench: Bench, ledger: Command):
    bench.claimed(inputs='{"image_url":"https://a.example/1.png?token=SECRET","n":[1,"x"]}')
    bench.claimed(inputs="no json https://a.example/1.png?token=SECRET")
    done = ledger("list", "--account", bench.scope.account, "--json")
    assert "SECRET" not in done.out
    assert done.lines[1]["inputs"] == {"image_url": "https://a.example/1.png", "n": [1, "x"]}
    assert done.lines[0]["inputs"] == "no json https://a.example/1.png"
