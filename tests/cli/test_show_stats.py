# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``ledger show`` and ``ledger stats``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_jimeng.ledger.records import Scope
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import SHA, Bench, unique

if TYPE_CHECKING:
    from tests.cli.conftest import Command


def test_a_content_by_any_of_its_names(bench: Bench, ledger: Command):
    row = bench.landed(validators='{"image_url":{"size":3}}')
    (place,) = bench.ledger.landings(row.content_key)
    for name in (row.id, row.content_key, row.content_key[:10], row.task_id, place.uri):
        done = ledger("show", name, "--json")
        assert done.code == 0, done.err
        assert done.ids == [row.id]
        assert [each["uri"] for each in done.lines[0]["landings"]] == [place.uri]
        assert done.lines[0]["validators"] == {"image_url": {"size": 3}}


def test_a_content_by_the_place_of_a_further_picture(bench: Bench, ledger: Command):
    scope = replace(bench.scope, req_key="jimeng_t2i_v40")
    row = bench.landed(scope=scope)
    uri = f"/out/{unique()}-2.png"
    bench.ledger.record_landing(row, uri=uri, size=1, sha256=SHA, part=2)
    done = ledger("show", uri, "--json")
    assert done.code == 0, done.err
    assert done.ids == [row.id]
    assert uri in [each["uri"] for each in done.lines[0]["landings"]]


def test_every_attempt_and_what_people_did(bench: Bench, ledger: Command):
    row = bench.landed()
    bench.ledger.record_created(row, unique("late-"))
    released = bench.in_state(TaskState.RELEASED)
    out = ledger("show", row.content_key).out
    assert f"row {row.id}: landed" in out
    assert "submitted (extra, billed?)" in out
    assert "landing" in out
    assert "released by me: test" in ledger("show", released.id).out


def test_what_is_not_there_is_told(ledger: Command):
    for name in ("nothing", unique(), "12345678901234567890", "999999999"):
        done = ledger("show", name)
        assert done.code == 1
        assert name in done.err


def test_the_beginning_of_several_keys_is_refused(bench: Bench, ledger: Command):
    same = unique()[:12]
    bench.claimed(f"{same}0")
    bench.claimed(f"{same}1")
    done = ledger("show", same)
    assert done.code == 1
    assert f"{same}0, {same}1" in done.err


def test_stats_of_an_account(bench: Bench, ledger: Command):
    bench.landed()
    bench.unknown()
    bench.ledger.record_created(bench.in_state(TaskState.EXPIRED), unique("late-"))
    bench.must_wait()
    done = ledger("stats", "--account", bench.scope.account, "--json")
    (line,) = done.lines
    assert line["counts"] == {"submitted": 1, "landed": 1, "expired": 1, "unknown": 1}
    assert line["possibly_billed"] == 3
    assert (line["in_use"], line["limit"], line["configured_limit"], line["tickets"]) == (2, 2, 2, 1)
    assert line["submits_today"] in (2, 3)  # a run over midnight
    assert (line["paused"], line["breaker"], line["cooldown_until"]) == (None, None, None)
    words = ledger("stats", "--account", bench.scope.account).out
    assert "2 of 2 in use, 1 waiting" in words
    assert "1 landed" in words


def test_stats_count_the_submits_of_today_as_the_daily_limit_does(bench: Bench, ledger: Command):
    bench.landed()
    never_sent = bench.ledger.record_unknown(bench.claimed(), message="its owner fell silent")
    assert not bench.ledger.release(never_sent.id, reason="test", by="me").possibly_billed
    (line,) = ledger("stats", "--account", bench.scope.account, "--json").lines
    assert line["counts"] == {"landed": 1, "released": 1}
    assert line["submits_today"] <= 1
    refusal = bench.refused(daily_submit_limit=line["submits_today"])
    assert f"made {line['submits_today']} submits" in refusal.message


def test_stats_tell_what_stops_claims(bench: Bench, ledger: Command):
    bench.claimed(configured_limit=None)
    bench.ledger.pause(bench.scope.account, "ann@host", "too dear")
    bench.ledger.trip_breaker(bench.scope, "wrong key")
    bench.ledger.note_refused(bench.scope, kind="rate", retry_after=50.0)
    words = ledger("stats", "--account", bench.scope.account).out
    assert "PAUSED by ann@host: too dear" in words
    assert "BREAKER OPEN     wrong key" in words
    assert "(learned)" in words
    assert "cooling down for" in words
    assert "paused by ann@host: too dear" in words.rpartition("note")[2]
    assert ledger("stats", "--account", bench.scope.account, "--json").lines[0]["cooldown_until"]


def test_stats_of_a_scope_and_of_an_account_without_rows(bench: Bench, ledger: Command):
    account = unique("paused-")
    bench.ledger.pause(account, "me", "first")
    assert ledger("stats", "--account", account).out.startswith(f"account {account}  PAUSED by me: first")
    bench.ledger.note_refused(Scope(bench.scope.account, "host", "model"), kind="rate")
    assert "rows             none" in ledger("stats", "--account", bench.scope.account).out


def test_stats_of_everything_and_of_nobody(bench: Bench, ledger: Command):
    bench.claimed()
    assert bench.scope.account in ledger("stats").out
    done = ledger("stats", "--account", unique("nobody-"))
    assert done.code == 1
    assert bench.scope.account in done.err
