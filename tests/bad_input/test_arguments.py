# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Every wrong argument is an error that names its field, before anything is sent or paid."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.exceptions import JimengConfigurationError, JimengInputError
from airflow_provider_jimeng.operators.jimeng import (
    JimengLandResultOperator,
    JimengMotionImitationOperator,
    JimengSubmitTaskOperator,
)
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun

OK = "https://media.example.com/a"
REFERENCE = {"task_id": "7710993105735127851", "req_key": "m"}

BAD_URLS: dict[str, Any] = {
    "none": None,
    "empty": "",
    "blank": "   ",
    "relative": "media/a.png",
    "absolute path": "/data/a.png",
    "no scheme": "media.example.com/a.png",
    "scheme only": "https://",
    "one slash": "https:/media.example.com/a.png",
    "file": "file:///etc/passwd",
    "data": "data:image/png;base64,AAAA",
    "javascript": "javascript:alert(1)",
    "ftp": "ftp://media.example.com/a.png",
    "plain http": "http://media.example.com/a.png",
    "credentials": "https://who:pass@media.example.com/a.png",
    "user": "https://who@media.example.com/a.png",
    "control": "https://media.example.com/a\x00.png",
    "newline": "https://media.example.com/a.png\nHost: x",
    "space": "https://media.example.com/a b.png",
    "zero width": "https://media.example.com/a\u200b.png",
    "surrogate": "https://media.example.com/\ud800.png",
    "backslash": "https://media.example.com\\a.png",
    "too long": "https://media.example.com/" + "a" * 9000,
    "bad port": "https://media.example.com:99999/a.png",
    "empty port": "https://media.example.com:/a.png",
    "bad host": "https://me_dia..example/a.png",
    "half an address": "https://10.1/a.png",
    "broken bracket": "https://[::1/a.png",
    "number": 7,
    "bytes": b"https://media.example.com/a.png",
    "list": ["https://media.example.com/a.png"],
    "dict": {"url": "https://media.example.com/a.png"},
    "path": Path("/data/a.png"),
    "template of none": "{{ none }}",
    "template of nothing": "{{ dag_run.conf.get('image') }}",
    "template of empty": "{{ '' }}",
    "private host by template": "http://{{ '10.0.0.7' }}/a.png",
}
BAD_OUTPUTS: dict[str, Any] = {
    "none": None,
    "empty": "",
    "relative": "out/a.mp4",
    "home": "~/a.mp4",
    "climbs": "/data/../etc/a.mp4",
    "climbs, encoded": "s3://bucket/%2e%2e/a.mp4",
    "climbs by template": "/data/{{ '..' }}/a.mp4",
    "climbs by backslash": "/data\\..\\a.mp4",
    "control": "/data/a\x07.mp4",
    "blank at the end": "/data/a.mp4 ",
    "too long": "/data/" + "a" * 5000,
    "query": "s3://bucket/a.mp4?versionId=1",
    "credentials": "s3://key:secret@bucket/a.mp4",
    "no bucket": "s3:///a.mp4",
    "unknown scheme": "nosuchstore://bucket/a.mp4",
    "unknown connection": "s3://nosuchconnection@bucket/a.mp4",
    "web": "https://media.example.com/a.mp4",
    "a host in a file URL": "file://host/a.mp4",
    "number": 7,
    "list": ["/data/a.mp4"],
    "template of none": "{{ none }}",
    "not a folder": "/dev/null/a.mp4",
}


def fails(bench: Bench, kind: Callable[..., Any], field: str, **arguments: Any) -> BaseException:
    with pytest.raises(JimengInputError) as told:
        DagRun().task(kind, **arguments)
    assert isinstance(told.value, AirflowFailException), "no retry changes an argument"
    assert field in str(told.value)
    assert bench.emu.ledger()["totals"]["submits"] == 0
    assert bench.accepted == 0
    assert bench.rows() == []
    return told.value


@pytest.mark.parametrize("field", ["image_url", "video_url"])
@pytest.mark.parametrize("value", BAD_URLS.values(), ids=BAD_URLS)
def test_a_bad_url(bench: Bench, field: str, value: Any) -> None:
    urls = {"image_url": bench.image, "video_url": bench.video, field: value}
    error = fails(bench, JimengSubmitTaskOperator, field, **urls)
    assert "pass@" not in str(error)
    if field == "image_url":
        fails(bench, JimengMotionImitationOperator, field, output=bench.output, **urls)


@pytest.mark.parametrize("value", BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
def test_a_bad_output(bench: Bench, value: Any) -> None:
    urls = {"image_url": bench.image, "video_url": bench.video}
    error = fails(bench, JimengMotionImitationOperator, "output", output=value, **urls)
    assert "key:secret" not in str(error)
    fails(bench, JimengLandResultOperator, "output", output=value, task=REFERENCE)
    assert bench.queries == 0


def test_an_output_that_is_a_folder(bench: Bench) -> None:
    urls = {"image_url": bench.image, "video_url": bench.video}
    for folder in (str(bench.folder), f"{bench.folder}/new/"):
        fails(bench, JimengMotionImitationOperator, "output", output=folder, **urls)


def test_an_output_in_a_folder_that_cannot_be_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = bench.folder / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    if os.geteuid() == 0:
        # For root no folder is read-only; the call that would fail for anybody else does so here.
        def refuse(*_: Any, **__: Any) -> Any:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("airflow_provider_jimeng.media.target.tempfile.TemporaryFile", refuse)
    urls = {"image_url": bench.image, "video_url": bench.video}
    fails(bench, JimengMotionImitationOperator, "output", output=str(locked / "a.mp4"), **urls)


#: Argument, wrong value, and the name that the error has to carry where that is another.
SUBMITS: list[tuple[str, Any]] = [
    ("req_key", None), ("req_key", ""), ("req_key", "a b"), ("req_key", "../x"), ("req_key", 7),
    ("req_key", "x" * 200), ("req_key", "{{ none }}"),
    ("variant", -1), ("variant", "one"), ("variant", 1.5), ("variant", True), ("variant", None),
    ("variant", 2**31),
    ("force_new", ""), ("force_new", "  "), ("force_new", 7), ("force_new", "{{ none }}"),
    ("force_new", ["a"]),
    ("on_unknown_submit", "retry"), ("on_unknown_submit", None), ("on_unknown_submit", True),
    ("on_missing_output", "reuse"), ("on_missing_output", ""),
    ("on_input_changed", "ignore"), ("on_input_changed", 1),
    ("max_attempts", 0), ("max_attempts", -1), ("max_attempts", "3"), ("max_attempts", True),
    ("max_attempts", 2.5), ("max_attempts", None),
    ("slot_timeout", 0), ("slot_timeout", -5), ("slot_timeout", "1h"), ("slot_timeout", float("nan")),
    ("slot_timeout", float("inf")), ("slot_timeout", True), ("slot_timeout", None),
    ("slot_timeout", dt.timedelta(0)),
    ("deferrable", "false"), ("deferrable", None), ("deferrable", 1),
]  # fmt: skip
IMITATES: list[tuple[str, Any]] = [
    ("timeout", 0), ("timeout", "11h"), ("timeout", None), ("timeout", float("nan")),
    ("poke_interval", 0), ("poke_interval", -1), ("poke_interval", "30"), ("poke_interval", True),
    ("overwrite", "false"), ("overwrite", None), ("overwrite", 1),
]  # fmt: skip


def labelled(cases: list[tuple[str, Any]]) -> list[str]:
    return [f"{field}={str(value)[:20]}" for field, value in cases]


@pytest.mark.parametrize(("field", "value"), SUBMITS, ids=labelled(SUBMITS))
def test_a_bad_argument_of_a_submit(bench: Bench, field: str, value: Any) -> None:
    urls = {"image_url": bench.image, "video_url": bench.video}
    fails(bench, JimengSubmitTaskOperator, field, **urls, **{field: value})
    fails(bench, JimengMotionImitationOperator, field, output=bench.output, **urls, **{field: value})


@pytest.mark.parametrize(("field", "value"), IMITATES, ids=labelled(IMITATES))
def test_a_bad_argument_of_all_in_one(bench: Bench, field: str, value: Any) -> None:
    given = {"image_url": bench.image, "video_url": bench.video, "output": bench.output, field: value}
    fails(bench, JimengMotionImitationOperator, field, **given)


BODIES: dict[str, Any] = {
    "empty": {},
    "list": [1],
    "text": '{"prompt": "x"}',
    "not a number": {"prompt": float("nan")},
    "bytes": {"prompt": b"x"},
    "object": {"prompt": object()},
    "number as key": {7: "x"},
    "another product": {"req_key": "jimeng_t2i_v30", "prompt": "x"},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_bad_body(bench: Bench, body: Any) -> None:
    fails(bench, JimengSubmitTaskOperator, "body", req_key="jimeng_t2i_v40", body=body)


def test_a_body_goes_without_urls(bench: Bench) -> None:
    for urls in ({"image_url": bench.image}, {"video_url": bench.video}):
        fails(bench, JimengSubmitTaskOperator, "body", body={"prompt": "x"}, **urls)


REFERENCES: dict[str, Any] = {
    "none": None,
    "text": "7710993105735127851",
    "list": [REFERENCE],
    "empty": {},
    "no product": {"task_id": "7"},
    "no id": {"req_key": "m"},
    "float id": {"task_id": 7.7e18, "req_key": "m"},
    "id with a space": {"task_id": "7 7", "req_key": "m"},
    "id that is None": {"task_id": "None", "req_key": "m"},
    "bad product": {"task_id": "7", "req_key": "a b"},
    "bad time": {"task_id": "7", "req_key": "m", "submitted_at": "yesterday"},
    "template of none": "{{ none }}",
}


@pytest.mark.parametrize("task", REFERENCES.values(), ids=REFERENCES)
def test_a_bad_reference(bench: Bench, task: Any) -> None:
    fails(bench, JimengTaskSensor, "task", task=task)
    fails(bench, JimengLandResultOperator, "task", task=task, output=bench.output)
    assert bench.queries == 0


@pytest.mark.parametrize("value", ["", "7.7e18", "7 7", 7.5, True, "{{ none }}", ["7"]])
def test_a_bad_id_of_the_vendor(bench: Bench, value: Any) -> None:
    fails(bench, JimengTaskSensor, "vendor_task_id", vendor_task_id=value)
    assert bench.queries == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout", 0),
        ("timeout", "1h"),
        ("poke_interval", -1),
        ("poke_interval", "10"),
        ("poke_interval", True),
    ],
)
def test_a_bad_time_of_the_sensor_is_told_when_the_dag_is_read(bench: Bench, field: str, value: Any) -> None:
    with pytest.raises(JimengInputError, match=field):
        DagRun().instance(JimengTaskSensor, task=REFERENCE, **{field: value})._built()


@pytest.mark.parametrize(
    "kind",
    [JimengSubmitTaskOperator, JimengMotionImitationOperator, JimengLandResultOperator, JimengTaskSensor],
)
@pytest.mark.parametrize("name", ["imageurl", "image_urls", "max_in_flight", "budget"])
def test_an_unknown_argument_is_told_when_the_dag_is_read(bench: Bench, kind: Any, name: str) -> None:
    required: dict[str, Any] = (
        {"output": bench.output} if "Land" in kind.__name__ or "Imitation" in kind.__name__ else {}
    )
    if "Land" in kind.__name__:
        required["task"] = REFERENCE
    with pytest.raises(TypeError, match=name):
        DagRun().instance(kind, **{**required, name: 1})._built()


def test_a_missing_output_is_told_when_the_dag_is_read(bench: Bench) -> None:
    with pytest.raises(TypeError, match="output"):
        DagRun().instance(JimengMotionImitationOperator, image_url=OK, video_url=OK)._built()


@pytest.mark.parametrize("conn_id", ["nosuchconnection", "", "{{ none }}"])
def test_a_connection_that_does_not_exist(bench: Bench, conn_id: str) -> None:
    with pytest.raises(JimengConfigurationError, match="connection"):
        bench.submit(volcengine_conn_id=conn_id)
    assert bench.emu.ledger()["totals"]["submits"] == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_concurrency", "two"), ("max_concurrency", 0), ("submit_qps", -1), ("submit_deadline", "soon"),
        ("verify", 7), ("proxies", "x"), ("allowed_networks", "10.0.0.0/99"), ("daily_submit_limit", 0),
    ],
)  # fmt: skip
def test_a_bad_field_of_the_connection(bench: Bench, field: str, value: Any) -> None:
    bench.connect(**{field: value})
    with pytest.raises(JimengConfigurationError, match=field):
        bench.submit()
    assert bench.emu.ledger()["totals"]["submits"] == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "0.0.0.0"])
def test_inputs_stay_off_addresses_that_are_not_allowed(bench: Bench, host: str) -> None:
    with pytest.raises(JimengInputError, match="address"):
        bench.submit(image_url=f"https://{host}/latest/meta-data")
    assert bench.accepted == 0
    assert bench.rows() == []
