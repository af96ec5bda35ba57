# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What an error reporter writes down of a failed task: the local variables of every frame.

Sentry does so by default, Airflow's own console does with ``DEV`` set; a dump of an exception is its pickle.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rich.traceback
import structlog.tracebacks

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.client.discretion import forget_locals, forgetful
from airflow_provider_jimeng.exceptions import JimengError
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator, JimengLandResultOperator
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun, Instance
from tests.secrets.test_no_secret_leaks import FAULTS, FORBIDDEN, SECRET_KEY, SIGNED, TOKEN, run, sts

__all__ = ["sts"]

#: Faults that end a task, each in another layer.
ENDS = ["unknown submit", "refused submit", "wrong key", "no download at all", "redirected downloads"]


def frames(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield place and repr of each local variable that a reporter sees, the test's own frames left out."""
    waiting = [traceback.TracebackException.from_exception(error, capture_locals=True)]
    while waiting:
        each = waiting.pop()
        waiting += [led for led in (each.__cause__, each.__context__) if led is not None]
        for frame in each.stack:
            if "/tests/" not in frame.filename:
                for name, text in (frame.locals or {}).items():
                    yield f"{frame.filename}:{frame.lineno} {frame.name}: {name}", text


def secrets_in(text: str) -> list[str]:
    found = FORBIDDEN.search(text)
    return [each for each in (SECRET_KEY, TOKEN) if each in text] + ([found[0]] if found else [])


def assert_silent(error: BaseException) -> None:
    assert [(place, text[:200]) for place, text in frames(error) if secrets_in(text)] == []
    kind = type(error)
    transform = structlog.tracebacks.ExceptionDictTransformer(
        show_locals=True, use_rich=False, locals_max_string=10_000, max_frames=200
    )
    told = transform((kind, error, error.__traceback__))
    ours = [frame for stack in told for frame in stack["frames"] if "/tests/" not in frame["filename"]]
    assert ours
    assert secrets_in(json.dumps([frame["locals"] for frame in ours], default=repr)) == []
    drawn = rich.traceback.Traceback.extract(
        kind, error, error.__traceback__, show_locals=True, locals_max_string=10_000
    )
    shown = [f for stack in drawn.stacks for f in stack.frames if "/tests/" not in f.filename]
    assert secrets_in(repr([frame.locals for frame in shown])) == []
    assert secrets_in(pickle.dumps(error).decode("latin-1")) == []


def signed(bench: Bench) -> dict[str, Any]:
    return {"image_url": bench.image + SIGNED["s3"], "video_url": bench.video + SIGNED["azure"]}


@pytest.mark.parametrize("name", ENDS)
def test_a_failed_task_leaves_no_secret_in_any_frame(sts: Bench, name: str) -> None:
    for fault in FAULTS[name]:
        sts.emu.add_fault(fault)
    instance = sts.imitation(DagRun(), **signed(sts), deferrable=False, retries=0)
    run(instance)
    assert instance.errors
    for error in instance.errors:
        assert_silent(error)


def test_a_failed_bulk_run_leaves_none(sts: Bench) -> None:
    sts.emu.add_fault("submit:gateway,code=100009,name=InvalidAccessKey,http_status=401,times=0")
    lines = [{"image": sts.image + SIGNED["s3"], "video": sts.video + SIGNED["azure"]}]
    instance = DagRun().instance(
        JimengBatchOperator, manifest=lines, output=str(sts.folder / "out"), retries=0
    )
    run(instance)
    assert_silent(instance.errors[0])


def test_sensor_and_landing_leave_none(sts: Bench) -> None:
    sts.emu.add_fault("done:50411")
    sts.emu.add_fault("download:reset,times=0")
    reference = sts.submit(**signed(sts))
    waiting = DagRun().instance(JimengTaskSensor, task=reference, deferrable=False, retries=0)
    second = sts.submit(**signed(sts), variant=1)
    landing = DagRun().instance(JimengLandResultOperator, task=second, output=sts.output, retries=0)
    for instance in (waiting, landing):
        run(instance)
        assert_silent(instance.errors[0])


def test_an_interrupt_leaves_none(sts: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Timeout(BaseException):
        """As Airflow's own, which is no Exception."""

    def interrupted(*_: Any, **__: Any) -> Any:
        raise Timeout

    monkeypatch.setattr("airflow_provider_jimeng.client.wire.parse_answer", interrupted)
    monkeypatch.setattr("airflow_provider_jimeng.client.sync.exchange", interrupted)
    instance = sts.imitation(DagRun(), **signed(sts), deferrable=False, retries=0)
    with pytest.raises(Timeout) as caught:
        instance.leg()
    assert [each for each in frames(caught.value) if secrets_in(each[1])] == []


def hook_calls(bench: Bench) -> dict[str, Callable[[], Any]]:
    image, video = signed(bench).values()
    return {
        "submit": lambda: JimengHook().submit_motion_imitation(image, video),
        "body": lambda: JimengHook().submit_task("other", {"images": [image]}),
        "unsafe": lambda: JimengHook().unsafe_submit("other", {"images": [image]}),
        "sign": lambda: JimengHook().sign(url="no url"),
    }


@pytest.mark.parametrize("name", ["submit", "body", "unsafe", "sign"])
def test_a_hook_that_is_called_by_hand_leaves_none(sts: Bench, name: str) -> None:
    sts.emu.add_fault("submit:gateway,code=100009,name=InvalidAccessKey,http_status=401,times=0")
    with pytest.raises((JimengError, ValueError)) as caught:
        hook_calls(sts)[name]()
    assert_silent(caught.value)


@pytest.mark.parametrize("broken", [{"verify": []}, {"allowed_networks": "x"}, {"submit_deadline": "soon"}])
def test_a_connection_that_can_not_be_read_leaves_none(sts: Bench, broken: dict[str, Any]) -> None:
    sts.connect(password=SECRET_KEY, session_token=TOKEN, **broken)
    with pytest.raises(JimengError) as caught:
        _ = JimengHook().settings
    assert_silent(caught.value)
    with pytest.raises(JimengError) as caught:
        asyncio.run(JimengHook().aget_settings())
    assert_silent(caught.value)


def test_a_ledger_that_is_down_leaves_no_password(sts: Bench) -> None:
    sts.patch.setenv("AIRFLOW__JIMENG__LEDGER_URL", f"postgresql+psycopg2://who:{TOKEN}@127.0.0.1:9/ledger")
    instance = sts.imitation(DagRun(), **signed(sts), retries=0)
    run(instance)
    assert_silent(instance.errors[0])


def test_places_and_messages_stay(sts: Bench) -> None:
    sts.emu.add_fault("submit:50411,times=0")
    instance: Instance = sts.imitation(DagRun(), deferrable=False, retries=0)
    with pytest.raises(AirflowFailException):
        instance.finish()
    told = "".join(traceback.format_exception(instance.errors[0]))
    assert "lifecycle/submit.py" in told
    assert "50411" in told


def test_every_error_that_led_to_one_is_emptied() -> None:
    def fail(secret: str) -> None:
        raise KeyError(len(secret))

    @forgetful
    def outer(secret: str) -> None:
        try:
            fail(secret)
        except KeyError as error:
            raise ExceptionGroup("several", [ValueError("x"), error]) from error

    with pytest.raises(ExceptionGroup) as caught:
        outer(TOKEN)
    chain = [caught.value, caught.value.__cause__, *caught.value.exceptions]
    for error in chain:
        assert error is not None
        entry = error.__traceback__
        while entry is not None:
            if entry.tb_frame.f_code.co_name in ("outer", "fail", "call"):
                assert TOKEN not in repr(entry.tb_frame.f_locals)
            entry = entry.tb_next
    # A circle of causes ends as well.
    caught.value.__cause__.__context__ = caught.value  # type: ignore[union-attr]
    forget_locals(caught.value)
