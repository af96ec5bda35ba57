# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Results that are late: given up too early, or stored by a try that was killed before it could say so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengMissingOutputError,
    JimengOutputExistsError,
    JimengTaskExpiredError,
    JimengToleranceExceededError,
)
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.operators.jimeng import JimengLandResultOperator

from tests.legs import Bench, DagRun
from tests.operators.test_batch_scenarios import kept, lines, results, run
from tests.operators.test_landing_faults import twelve_hours_pass


@pytest.mark.parametrize(
    ("words", "told"), [("generating,times=1", None), ("not_found,times=0", JimengTaskExpiredError)]
)
def test_nothing_is_stored_for_a_task_that_is_still_given_up(
    bench: Bench, words: str, told: type[JimengError] | None
) -> None:
    reference = bench.submit()
    bench.emu.add_fault("query:status,status=not_found,times=0")
    with pytest.raises(JimengTaskExpiredError):
        bench.wait(reference)
    bench.emu.clear_faults()
    bench.emu.add_fault(f"query:status,status={words}")

    instance = DagRun("run-2").instance(JimengLandResultOperator, "land", task=reference, output=bench.output)
    with pytest.raises(told) if told else nullcontext():
        instance.finish()
    assert not any(isinstance(each, LostRace) for each in instance.errors)
    assert Path(bench.output).exists() is (told is None)
    assert bench.states() == ["landed" if told is None else "expired"]
    assert bench.accepted == 1


# -- killed between storing and recording ------------------------------------------------------------------


class Killed(BaseException):
    """SIGKILL."""


@contextmanager
def killed_before_recording(bench: Bench) -> Iterator[None]:
    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    with bench.patch.context() as patch:
        patch.setattr(Ledger, "record_landing", die)
        with pytest.raises(Killed):
            yield
    twelve_hours_pass(bench)


policies = pytest.mark.parametrize("policy", ["fail", "resubmit"])


@policies
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_stored_result_that_was_not_recorded_is_not_paid_again(
    bench: Bench, policy: str, overwrite: bool
) -> None:
    arguments: dict[str, Any] = {"on_missing_output": policy, "overwrite": overwrite}
    with killed_before_recording(bench):
        bench.imitate(**arguments)
    stored = Path(bench.output).read_bytes()
    with pytest.raises(JimengOutputExistsError, match="Nothing is paid again") as told:
        bench.imitate(DagRun("run-2"), **arguments)
    assert (bench.accepted, bench.states()) == (1, ["succeeded"])

    # What the message says about a file that is the result.
    named = re.search(r"move it to (\S+)", str(told.value))
    assert named
    Path(bench.output).rename(named[1])
    bench.imitate(DagRun("run-3"), **arguments)
    assert Path(bench.output).read_bytes() == stored
    assert (bench.accepted, bench.states()) == (1, ["landed"])


@policies
def test_an_unknown_file_that_is_moved_away_leaves_the_choice_to_the_user(bench: Bench, policy: str) -> None:
    with killed_before_recording(bench):
        bench.imitate()
    Path(bench.output).unlink()
    instance = bench.imitation(DagRun("run-2"), on_missing_output=policy)
    with nullcontext() if policy == "resubmit" else pytest.raises(JimengMissingOutputError):
        instance.finish()
    assert bench.accepted == (2 if policy == "resubmit" else 1)


def test_what_is_moved_there_must_be_a_whole_result(bench: Bench) -> None:
    with killed_before_recording(bench):
        bench.imitate()
    with pytest.raises(JimengOutputExistsError) as told:
        bench.imitate(DagRun("run-2"))
    named = re.search(r"move it to (\S+)", str(told.value))
    assert named
    Path(named[1]).write_bytes(Path(bench.output).read_bytes()[:-100])
    with pytest.raises(JimengOutputExistsError):
        bench.imitate(DagRun("run-3"))
    Path(named[1]).write_bytes(b"holiday")
    with pytest.raises(JimengOutputExistsError):
        bench.imitate(DagRun("run-4"))
    assert bench.states() == ["succeeded"]


@policies
def test_a_foreign_file_stops_a_second_payment_before_it_is_made(bench: Bench, policy: str) -> None:
    bench.imitate()
    Path(bench.output).write_bytes(b"holiday")
    twelve_hours_pass(bench)
    with pytest.raises(JimengOutputExistsError):
        bench.imitate(DagRun("run-2"), on_missing_output=policy)
    assert bench.accepted == 1
    assert Path(bench.output).read_bytes() == b"holiday"

    # That may be overwritten; and the user chose to pay.
    bench.imitate(DagRun("run-3"), on_missing_output="resubmit", overwrite=True)
    assert bench.accepted == 2


@policies
def test_a_bulk_run_takes_over_what_a_killed_one_stored(bench: Bench, policy: str) -> None:
    manifest = lines(bench, [1])
    with killed_before_recording(bench):
        run(bench, manifest)
    (stored,) = kept(bench)
    run(bench, manifest, "run-2", on_missing_output=policy)
    assert results(bench) == {"1": stored}
    assert (bench.accepted, bench.states()) == (1, ["landed"])


def test_a_bulk_run_does_not_take_over_what_somebody_changed(bench: Bench) -> None:
    manifest = lines(bench, [1])
    run(bench, manifest)
    for path in (bench.folder / "out").rglob("*.mp4"):
        path.write_bytes(path.read_bytes() + b"\0\0\0\x08free")
    twelve_hours_pass(bench)
    with pytest.raises(JimengToleranceExceededError, match="1 expired"):
        run(bench, manifest, "run-2")
    assert bench.accepted == 1
