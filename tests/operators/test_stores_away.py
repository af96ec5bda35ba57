# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A store, or what gives out the keys to it, that does not answer for a moment: never a mistake of the DAG's.

Each time a task was paid for before; the try fails at most, and the next one brings the result home.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.exceptions import JimengError, JimengInputStoreError, JimengLandingError
from airflow_provider_jimeng.hooks import inputs
from airflow_provider_jimeng.hooks.compat import AirflowNotFoundException
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator, JimengLandResultOperator

from tests.legs import Bench, DagRun, Deferred, Instance, Output

# The stores of these tests are none that Airflow's paths know by name.
pytestmark = pytest.mark.filterwarnings("ignore:UPath")

PLACE = "shakystore://bucket/x/r.mp4"


class Shaky(MemoryFileSystem):  # type: ignore[misc]
    """A store that is away, or whose keys can't be had."""

    protocol = "shakystore"
    cachable = False
    away = keyless = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if Shaky.keyless:
            raise ConnectionError("STS AssumeRole: connect timeout")

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return super()._strip_protocol(path.replace("shakystore://", "memory://"))

    def exists(self, path: str, **_: Any) -> bool:
        # As s3fs does it: of whatever trouble it says that there is no such bucket.
        return not Shaky.away

    def info(self, path: str, **options: Any) -> Any:
        if Shaky.away:
            raise TimeoutError("503 SlowDown")
        return super().info(path, **options)


@pytest.fixture(autouse=True)
def store() -> Iterator[type[Shaky]]:
    fsspec.register_implementation("shakystore", Shaky, clobber=True)
    MemoryFileSystem.store.clear()
    yield Shaky
    Shaky.away = Shaky.keyless = False
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def costs_a_try(task: Instance, kind: type[JimengError], *leg: Any) -> str:
    """Run a leg that fails; return what it told."""
    with pytest.raises(kind) as told:
        task.leg(*leg)
    assert not isinstance(told.value, AirflowFailException)
    return str(told.value)


@pytest.mark.parametrize("trouble", ["away", "keyless"])
@pytest.mark.parametrize("resumes", [True, False])
def test_the_all_in_one_operator_lands_at_its_next_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, trouble: str, resumes: bool
) -> None:
    task = bench.imitation(output=PLACE)
    left = task.leg()
    assert isinstance(left, Deferred)
    event = task.watch(left)
    monkeypatch.setattr(Shaky, trouble, True)
    words = costs_a_try(task, JimengLandingError, *((left, event) if resumes else ()))
    assert "retry" in words
    monkeypatch.setattr(Shaky, trouble, False)
    task.clear().finish()
    assert (bench.accepted, bench.states()) == (1, ["landed"])


@pytest.mark.parametrize("trouble", ["away", "keyless"])
def test_the_landing_operator_lands_at_its_next_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    run = DagRun()
    bench.submit(run)
    bench.wait(Output("submit"), run)
    task = run.instance(JimengLandResultOperator, "land", task=Output("wait"), output=PLACE)
    monkeypatch.setattr(Shaky, trouble, True)
    costs_a_try(task, JimengLandingError)
    monkeypatch.setattr(Shaky, trouble, False)
    task.clear().finish()
    assert (bench.accepted, bench.states()) == (1, ["landed"])


def test_a_deferred_leg_of_a_bulk_run_goes_on_at_its_next_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"image": bench.image, "video": bench.video, "variant": number} for number in range(4)]
    given: dict[str, Any] = {"manifest": lines, "output": "shakystore://bucket/o", "deferrable": True}
    task = DagRun().instance(JimengBatchOperator, "batch", on_input_changed="reuse", **given)
    left = task.leg()
    assert isinstance(left, Deferred)
    event = task.watch(left)
    monkeypatch.setattr(Shaky, "keyless", True)
    costs_a_try(task, JimengLandingError, left, event)
    monkeypatch.setattr(Shaky, "keyless", False)
    assert task.clear().finish()["total"] == 4
    assert bench.accepted == 4


def tos(bench: Bench) -> str:
    values = {"region": "cn-beijing", "endpoint": bench.emu.url}
    return json.dumps({"conn_type": "generic", "login": "AK", "password": "SKSKSKSK", "extra": values})


def test_a_paid_task_whose_input_cannot_be_presigned_now_is_brought_home(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TOS_DEFAULT", tos(bench))
    task = bench.imitation(image_url="tos://studio/a.png")
    assert isinstance(task.leg(), Deferred)
    monkeypatch.delenv("AIRFLOW_CONN_TOS_DEFAULT")
    task.clear().finish()
    assert (bench.accepted, bench.states()) == (1, ["landed"])


def test_an_input_that_cannot_be_presigned_now_costs_a_try_and_no_money(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TOS_DEFAULT", tos(bench))

    def away(read: Any, name: str) -> Any:
        raise AirflowNotFoundException(name)

    task = bench.imitation(image_url="tos://studio/a.png")
    with monkeypatch.context() as patch:
        # Airflow's API is away, and Airflow says of that what it says of a connection that isn't there.
        patch.setattr(inputs, "read_connection", away)
        assert "nothing was paid" in costs_a_try(task, JimengInputStoreError)
    assert bench.emu.ledger()["totals"]["submits"] == 0
    task.clear().finish()
    assert (bench.accepted, bench.states()) == (1, ["landed"])


def test_keys_for_an_input_that_cannot_be_had_now_cost_a_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(uri: str) -> Any:
        raise ConnectionError("STS AssumeRole: connect timeout")

    monkeypatch.setattr(inputs, "filesystem_of", away)
    words = costs_a_try(bench.imitation(image_url="s3://bucket/a.png"), JimengInputStoreError)
    assert "STS AssumeRole" in words
    assert bench.emu.ledger()["totals"]["submits"] == 0
