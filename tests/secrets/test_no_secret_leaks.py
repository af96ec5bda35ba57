# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
No secret in what operators leave behind, at DEBUG level, whatever goes wrong.

Sought before Airflow's own masking: the product has to keep its secrets by itself. A whole run's files and
databases are searched by the tests on real Airflow.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun, Instance, Output

SECRET_KEY, TOKEN = "c2VjcmV0LWtleS1vZi10aGUtdGVzdA==", "STS2sess10nt0ken0fthetest"
SIGNED = {
    "s3": "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAwho&X-Amz-Signature=51gnedbys3",
    "s3 v2": "?AWSAccessKeyId=AKIAwho&Expires=1&Signature=51gnedbys3v2",
    "azure": "?sv=2024-01-01&se=2026&sr=b&sp=r&sig=51gnedbyazure",
    "gcs": "?X-Goog-Algorithm=GOOG4&X-Goog-Signature=51gnedbygcs",
    "tos": "?X-Tos-Algorithm=TOS4-HMAC-SHA256&X-Tos-Signature=51gnedbytos",
    "oss": "?OSSAccessKeyId=who&Expires=1&Signature=51gnedbyoss",
}
#: The vendor's own signatures: of requests (hexadecimal) and of result URLs.
FORBIDDEN = re.compile(
    r"51gned|X-Amz-|X-Goog-|X-Tos-|AWSAccessKeyId|OSSAccessKeyId|[?&]sig=|x-signature=|x-nonce="
    r"|Signature=[0-9a-f]{20}|HMAC-SHA256 Credential="
)
#: Proof that each of them would be heard.
LOGGERS = (
    "airflow_provider_jimeng.client.sync",
    "requests",
    "aiohttp.client",
    "asyncio",
    "fsspec",
    "sqlalchemy.engine",
)
FAULTS: dict[str, list[str]] = {
    "nothing": [],
    "unknown submit": ["submit:50500,created=true"],
    "refused submit": ["submit:50411,times=0"],
    "wrong key": ["submit:gateway,code=100009,name=InvalidAccessKey,http_status=401,times=0"],
    "reset": ["submit:reset,created=true"],
    "hang": ["submit:hang,seconds=20"],
    "html": ["submit:html"],
    "final verdict": ["done:50411"],
    "new attempt": ["done:50511"],
    "trouble with queries": ["query:html,times=2", "query:gateway,code=100009,http_status=401,times=2"],
    "no url": ["query:no-url,times=2"],
    "spoiled downloads": ["download:corrupt", "download:expired"],
    "no download at all": ["download:reset,times=0"],
    "downloads denied": ["download:expired,times=0"],
    "redirected downloads": ["download:redirect,times=0"],
}


@pytest.fixture
def loud(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Log everything, as a person who looks for an error does; Airflow keeps some loggers quiet."""
    with contextlib.ExitStack() as stack:
        for name in (None, *LOGGERS):
            stack.enter_context(caplog.at_level(logging.DEBUG, name))
        yield


@pytest.fixture
def sts(bench: Bench) -> Bench:
    bench.emu.configure(secret_key=SECRET_KEY, session_token=TOKEN)
    bench.connect(password=SECRET_KEY, session_token=TOKEN, submit_deadline=1, read_timeout=1)
    return bench


def errors_of(instance: Instance) -> str:
    return "\n".join(
        "".join(traceback.format_exception(error)) + repr(error) + json.dumps(error.__dict__, default=repr)
        for error in instance.errors
    )


def run(instance: Instance) -> None:
    with contextlib.suppress(Exception):
        instance.finish()
    assert instance.story, "a test's own trouble"


def search(bench: Bench, where: dict[str, str]) -> None:
    for name, text in where.items():
        for secret in (SECRET_KEY, TOKEN):
            assert secret not in text, f"{secret} in {name}"
        found = FORBIDDEN.search(text)
        assert found is None, f"{name}: ...{text[max(0, found.start() - 300) : found.end() + 60]}"


def ledger_bytes(bench: Bench) -> str:
    files = sorted(bench.ledger_file.parent.glob("ledger.db*"))
    assert files
    return "".join(path.read_bytes().decode("latin-1") for path in files)


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_nothing_that_is_left_behind_holds_a_secret(
    sts: Bench,
    loud: None,
    faults: list[str],
    deferrable: bool,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in LOGGERS:
        logging.getLogger(name).debug("%s speaks", name)
    for fault in faults:
        sts.emu.add_fault(fault)
    dag_run = DagRun()
    image, video = sts.image + SIGNED["s3"], sts.video + SIGNED["azure"]
    instance = sts.imitation(dag_run, image_url=image, video_url=video, deferrable=deferrable, retries=1)
    run(instance)

    out = capfd.readouterr()
    search(
        sts,
        {
            "log": caplog.text + out.out + out.err,
            "xcom": "".join(dag_run.xcom.values()),
            "triggers": "".join(each.kwargs for each in instance.deferrals),
            "events": json.dumps(instance.events),
            "errors": errors_of(instance),
            "ledger": ledger_bytes(sts),
            "link": str(instance.operator.link_target),
        },
    )
    assert [name for name in LOGGERS if f"{name} speaks" not in caplog.text] == []


@pytest.mark.parametrize("signed", SIGNED.values(), ids=SIGNED)
def test_no_way_of_presigning_gets_into_the_ledger_or_a_reference(
    sts: Bench, loud: None, signed: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    dag_run = DagRun()
    sts.submit(dag_run, image_url=sts.image + signed, video_url=sts.video + signed)
    hook_task = JimengHook().submit_motion_imitation(sts.image + signed, sts.video + signed)
    sensor = dag_run.instance(JimengTaskSensor, "wait", task=Output("submit"))
    before = "".join(dag_run.xcom.values())
    result = sensor.finish()
    landed = sts.land(result, dag_run)

    assert hook_task == result["task_id"]
    assert "x-signature=" in result["video_url"], "the one exception, which users ask for"
    out = capfd.readouterr()
    search(
        sts,
        {
            "log": caplog.text + out.out + out.err,
            "xcom": before + json.dumps(landed),
            "triggers": "".join(each.kwargs for each in sensor.deferrals),
            "ledger": ledger_bytes(sts),
        },
    )


def test_a_bad_presigned_url_is_not_quoted(sts: Bench, loud: None, caplog: pytest.LogCaptureFixture) -> None:
    for bad in (
        "ftp://a.example/i.png",
        "i.png",
        "https://who:pass@a.example/i.png",
        "https://a example/i.png",
    ):
        instance = sts.imitation(image_url=bad + SIGNED["s3"], retries=0)
        run(instance)
        assert instance.errors
        search(sts, {"errors": errors_of(instance), "log": caplog.text})
        assert "pass" not in str(instance.errors[0]).replace("password", "")


def test_reprs_of_what_holds_secrets_do_not_show_them(sts: Bench) -> None:
    hook = JimengHook()
    instance = sts.imitation(image_url=sts.image + SIGNED["s3"])
    instance.leg()
    shown: list[Any] = [
        hook,
        hook.settings,
        hook.settings.credentials,
        hook.guard,
        hook.client,
        instance.operator,
    ]
    search(sts, {"reprs": " ".join(map(repr, shown)), "strings": " ".join(map(str, shown))})


def test_a_ledger_that_is_down_does_not_show_its_password(sts: Bench, loud: None, caplog: Any) -> None:
    url = "postgresql+psycopg2://who:pa55w0rd@127.0.0.1:9/ledger"
    sts.patch.setenv("AIRFLOW__JIMENG__LEDGER_URL", url)
    instance = sts.imitation(retries=0)
    run(instance)
    assert instance.errors
    assert "pa55w0rd" not in errors_of(instance) + caplog.text


def test_rendered_queries_are_masked_for_airflow(sts: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    masked: list[str] = []
    monkeypatch.setattr("airflow_provider_jimeng.hooks.defaults.mask_secret", masked.append)
    body = {"prompt": "wave", "images": [sts.image + SIGNED["tos"]], "broken": "https://[" + SIGNED["oss"]}
    run(sts.imitation(image_url=None, video_url=None, body=body, req_key="other"))
    run(sts.imitation(image_url=sts.image + SIGNED["s3"], video_url=sts.video + SIGNED["azure"]))
    assert {each.lstrip("?") for each in masked} >= {
        SIGNED[name].lstrip("?") for name in ("tos", "oss", "s3", "azure")
    }
