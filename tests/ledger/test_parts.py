# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A task that made several things has landings for each, and none is taken for another."""

from __future__ import annotations

from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.ledger.parts import content_of, keys_of, part_key
from airflow_provider_jimeng.ledger.states import TaskState

from tests.ledger.kit import SHA, Bench, unique

KEY = "a" * 64


def test_the_first_result_has_the_contents_key_and_the_others_keys_made_of_it() -> None:
    assert part_key(KEY, 1) == KEY
    assert part_key(KEY, 12) == f"{KEY}/12"
    assert content_of(KEY) == content_of(part_key(KEY, 12)) == KEY
    assert keys_of(KEY, MOTION_IMITATION) == [KEY]
    assert keys_of(KEY, "jimeng_t2i_v40") == [part_key(KEY, number) for number in range(1, 17)]


def test_a_further_result_lands_without_making_the_row_landed(bench: Bench) -> None:
    record, first, second = bench.succeeded(), unique("/out/"), unique("/out/")
    landing = bench.ledger.record_landing(record, uri=second, size=1, sha256=SHA, part=2)
    assert landing.content_key == part_key(record.content_key, 2)
    assert bench.now(record) == record
    assert bench.ledger.landings(record.content_key) == []
    bench.ledger.record_landing(record, uri=first, size=1, sha256=SHA)
    assert bench.now(record).state is TaskState.LANDED
    assert [each.uri for each in bench.ledger.landings(record.content_key)] == [first]
    bench.ledger.record_landing(bench.now(record), uri=second, size=2, sha256=SHA, part=2)
    assert [each.size for each in bench.ledger.landings(part_key(record.content_key, 2))] == [2]
