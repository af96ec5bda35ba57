# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a reader with fresh eyes found: ways to pay twice, or to lose, that the other tests did not walk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from airflow_provider_jimeng.exceptions import JimengLandingError, JimengTaskFailedError
from airflow_provider_jimeng.hooks.storage import resolve_target
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.decide import Step, decide
from airflow_provider_jimeng.lifecycle.wanted import Policies

from tests.ledger.kit import Bench


@pytest.fixture
def ledger_bench(tmp_path: Path) -> Bench:
    return Bench(f"sqlite:///{tmp_path}/ledger.db")


def test_a_refused_submit_hides_neither_a_result_nor_a_final_verdict(ledger_bench: Bench):
    landed = ledger_bench.landed("paid")
    again = ledger_bench.claimed("paid", expected_latest=landed.id, supersede=True)
    ledger_bench.ledger.record_rejected(again, code=50430, message="busy")

    found = ledger_bench.ledger.latest("paid")
    assert found is not None
    assert found.id == landed.id
    assert decide(found, policies=Policies(), attempts=0, now=ledger_bench.ledger.now()).step is Step.TAKE
    assert ledger_bench.ledger.latest_many(["paid"])["paid"].id == landed.id

    failed = ledger_bench.ledger.record_failed(ledger_bench.submitted("bad"), code=50411, message="m")
    assert failed.state is TaskState.FAILED
    decision = decide(
        ledger_bench.ledger.latest("bad"), policies=Policies(), attempts=0, now=ledger_bench.ledger.now()
    )
    assert isinstance(decision.error, JimengTaskFailedError)


def test_an_intent_that_was_never_sent_uses_no_attempt(ledger_bench: Bench):
    given_up = ledger_bench.claimed("content")
    scope = given_up.attempt_scope
    assert ledger_bench.ledger.attempts_in("content", scope) == 1
    ledger_bench.age(given_up, 10_000)
    ledger_bench.found("content")
    ledger_bench.ledger.release(given_up.id, reason="never sent", by="test")
    assert ledger_bench.ledger.attempts_in("content", scope) == 0


def test_two_landings_at_one_path_at_one_moment_overwrite_nothing(tmp_path: Path):
    target = resolve_target(str(tmp_path / "out" / "same.mp4"))
    sources = []
    for number in range(8):
        source = tmp_path / f"source-{number}"
        source.write_bytes(bytes([number]) * 1000)
        sources.append(source)
    outcomes: list[bool] = []

    def publish(source: Path) -> None:
        try:
            target.publish(source, exclusive=True)
            outcomes.append(True)
        except JimengLandingError:
            outcomes.append(False)

    threads = [threading.Thread(target=publish, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(True) == 1
    assert len(Path(target.path).read_bytes()) == 1000
    assert [path.name for path in Path(target.path).parent.iterdir()] == ["same.mp4"]
