# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import SHA, Bench, unique


def test_the_first_landing_makes_the_row_landed_and_further_ones_add_places(bench: Bench):
    record = bench.succeeded()
    first, second = unique("s3://bucket/"), unique("/disk/")
    landing = bench.ledger.record_landing(
        record, uri=first, size=2**40, etag='"e"', sha256=SHA, content_type="video/mp4"
    )
    assert (landing.content_key, landing.attempt, landing.uri) == (record.content_key, 1, first)
    assert (landing.size, landing.etag, landing.sha256, landing.content_type) == (
        2**40,
        '"e"',
        SHA,
        "video/mp4",
    )
    row = bench.now(record)
    assert (row.state, row.landed_at) == (TaskState.LANDED, landing.landed_at)
    bench.ledger.record_landing(record, uri=second, size=1, sha256=SHA)
    assert bench.now(record) == replace(row, revision=row.revision + 1)
    assert [each.uri for each in bench.ledger.landings(record.content_key)] == [second, first]
    assert {each.uri for each in bench.ledger.landings_with(SHA)} >= {first, second}
    assert bench.ledger.landing_at(first) == landing


def test_a_landing_can_be_written_again(bench: Bench):
    record, uri = bench.succeeded(), unique("/out/")
    first = bench.ledger.record_landing(record, uri=uri, size=1, sha256=SHA)
    again = bench.ledger.record_landing(record, uri=uri, size=2, sha256=SHA)
    assert (again.id, again.size) == (first.id, 2)
    assert len(bench.ledger.landings(record.content_key)) == 1


def test_a_place_has_one_file_so_the_last_landing_owns_it(bench: Bench):
    before, after, uri = bench.succeeded(), bench.succeeded(), unique("/out/")
    bench.ledger.record_landing(before, uri=uri, size=1, sha256=SHA)
    bench.ledger.record_landing(after, uri=uri, size=1, sha256=SHA)
    assert bench.ledger.landings(before.content_key) == []
    assert [each.uri for each in bench.ledger.landings(after.content_key)] == [uri]


def test_a_moved_result_keeps_its_landing(bench: Bench):
    record, old, new = bench.succeeded(), unique("/out/"), unique("/safe/")
    landing = bench.ledger.record_landing(record, uri=old, size=1, sha256=SHA)
    for _ in range(2):  # a repeat finds what it did before
        moved = bench.ledger.move_landing(old, new)
        assert (moved.id, moved.uri, moved.content_key) == (landing.id, new, record.content_key)
    assert bench.ledger.landing_at(old) is None
    assert bench.ledger.move_landing(new, new) == moved


def test_a_moved_result_replaces_what_the_ledger_knew_of_the_new_place(bench: Bench):
    record, other, old, new = bench.succeeded(), bench.succeeded(), unique("/a/"), unique("/b/")
    bench.ledger.record_landing(record, uri=old, size=1, sha256=SHA)
    bench.ledger.record_landing(other, uri=new, size=1, sha256=SHA)
    assert bench.ledger.move_landing(old, new).content_key == record.content_key
    assert bench.ledger.landings(other.content_key) == []


def test_a_moved_result_has_the_etag_of_its_new_place(bench: Bench):
    record, old, new = bench.succeeded(), unique("/a/"), unique("/b/")
    bench.ledger.record_landing(record, uri=old, size=1, etag="one", sha256=SHA)
    assert bench.ledger.move_landing(old, new, etag="two").etag == "two"
    assert bench.ledger.move_landing(new, unique("/disk/"), etag=None).etag is None


def test_an_etag_that_a_store_gave_anew_is_noted_for_the_same_bytes_only(bench: Bench):
    record, other, uri = bench.succeeded(), bench.succeeded(), unique("/out/")
    landing = bench.ledger.record_landing(record, uri=uri, size=1, etag="one", sha256=SHA)
    bench.ledger.renew_etag(landing, "two")
    (renewed,) = bench.ledger.landings(record.content_key)
    assert renewed.etag == "two"
    assert (renewed.id, renewed.landed_at, renewed.uri) == (landing.id, landing.landed_at, uri)

    bench.ledger.record_landing(other, uri=uri, size=1, etag="three", sha256="f" * 64)
    bench.ledger.renew_etag(landing, "four")
    bench.ledger.move_landing(uri, unique("/b/"), etag="three")
    bench.ledger.renew_etag(landing, "four")
    assert [each.etag for each in bench.ledger.landings(other.content_key)] == ["three"]


def test_a_landing_that_never_was_cannot_be_moved(bench: Bench):
    with pytest.raises(LostRace, match="no landing"):
        bench.ledger.move_landing(unique(), unique())


def test_a_forgotten_landing_is_gone_and_the_row_stays_paid_for(bench: Bench):
    record, uri = bench.succeeded(), unique("/out/")
    bench.ledger.record_landing(record, uri=uri, size=1, sha256=SHA)
    assert bench.ledger.forget_landing(uri)
    assert not bench.ledger.forget_landing(uri)
    assert bench.now(record).state is TaskState.LANDED
