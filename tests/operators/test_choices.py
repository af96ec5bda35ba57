# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a user may choose that costs money, and that nothing is chosen by accident."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengInputChangedError,
    JimengToleranceExceededError,
)
from airflow_provider_jimeng.hooks import jimeng
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.ledger.records import Provenance
from airflow_provider_jimeng.lifecycle.settle import settle_holders
from airflow_provider_jimeng.lifecycle.wanted import Request
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator, JimengSubmitTaskOperator

from tests.legs import Bench, DagRun


class Shelf:
    """A server whose files change."""

    def __init__(self) -> None:
        self.etag: str | None = '"one"'
        self.size = 1000
        self.status = 206
        shelf = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(shelf.status)
                if shelf.etag is not None:
                    self.send_header("ETag", shelf.etag)
                self.send_header("Content-Range", f"bytes 0-0/{shelf.size}")
                self.send_header("Content-Length", "1")
                self.end_headers()
                self.wfile.write(b"x")

            def log_message(self, *_: Any) -> None:
                """Tests are quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/image.png"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    made = Shelf()
    yield made
    made.close()


def test_other_bytes_behind_a_paid_url_are_noticed_and_nothing_is_paid(bench: Bench, shelf: Shelf) -> None:
    bench.imitate(image_url=shelf.url)
    shelf.etag = '"two"'
    for run in (bench.imitate, bench.submit):
        with pytest.raises(JimengInputChangedError, match="image_url") as told:
            run(DagRun("run-2"), image_url=shelf.url)
        assert isinstance(told.value, AirflowFailException)
    assert bench.accepted == 1


def test_the_same_bytes_or_unknown_ones_are_the_same_content(bench: Bench, shelf: Shelf) -> None:
    bench.imitate(image_url=shelf.url)
    bench.imitate(DagRun("run-2"), image_url=shelf.url)
    shelf.etag = None
    bench.imitate(DagRun("run-3"), image_url=shelf.url)
    shelf.status = 503
    bench.imitate(DagRun("run-4"), image_url=shelf.url)
    assert bench.accepted == 1


def test_reuse_keeps_the_earlier_result(bench: Bench, shelf: Shelf) -> None:
    bench.imitate(image_url=shelf.url)
    shelf.size = 2000
    bench.imitate(DagRun("run-2"), image_url=shelf.url, on_input_changed="reuse")
    assert bench.accepted == 1


def test_resubmit_pays_once_for_the_new_bytes(bench: Bench, shelf: Shelf) -> None:
    first = bench.imitate(image_url=shelf.url)
    shelf.etag = '"two"'
    chosen = {"image_url": shelf.url, "on_input_changed": "resubmit"}
    second = bench.imitate(DagRun("run-2"), **chosen)
    again = bench.imitate(DagRun("run-3"), **chosen)

    assert bench.accepted == 2
    assert second["task_id"] != first["task_id"]
    assert again["task_id"] == second["task_id"]
    assert Path(bench.output).read_bytes()[4:8] == b"ftyp"
    assert again["sha256"] == second["sha256"] != first["sha256"]
    assert hashlib.sha256(Path(bench.output).read_bytes()).hexdigest() == second["sha256"]
    (kept,) = (Path(bench.output).parent / ".jimeng").glob("*.mp4")
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == first["sha256"], "paid for, so never lost"


def test_bytes_that_change_while_the_task_runs_do_not_lose_its_result(bench: Bench, shelf: Shelf) -> None:
    instance = bench.imitation(image_url=shelf.url)
    left = instance.leg()
    event = instance.watch(left)
    shelf.etag = '"two"'
    instance.leg(left, event)
    assert bench.states() == ["landed"]
    assert bench.accepted == 1


@pytest.mark.parametrize("policy", ["fail", "resubmit"])
@pytest.mark.parametrize("landed", [False, True], ids=["not stored", "stored"])
def test_a_retry_brings_its_own_result_home_whatever_is_behind_the_url_by_then(
    bench: Bench, shelf: Shelf, policy: str, landed: bool
) -> None:
    instance = bench.imitation(image_url=shelf.url, on_input_changed=policy)
    left = instance.leg()
    event = instance.watch(left)
    if landed:
        instance.leg(left, event)
    else:
        let_another_claim_settle(bench)
    (paid,) = bench.rows()
    # Airflow fails healthy deferred tasks now and then.
    shelf.etag = '"two"'
    result = instance.clear().finish()

    assert result["task_id"] == paid.task_id
    assert bench.states() == ["landed"]
    assert bench.accepted == 1


def test_a_result_that_another_dag_has_not_stored_yet_is_not_replaced(bench: Bench, shelf: Shelf) -> None:
    owner = bench.imitation(image_url=shelf.url)
    left = owner.leg()
    event = owner.watch(left)
    let_another_claim_settle(bench)
    shelf.etag = '"two"'
    chosen = {"image_url": shelf.url, "on_input_changed": "resubmit"}
    other = str(bench.folder / "other.mp4")

    found = bench.imitate(DagRun("run-1", "dag-2"), output=other, **chosen)
    assert owner.leg(left, event)["task_id"] == found["task_id"]
    assert bench.accepted == 1

    assert bench.imitate(DagRun("run-2", "dag-2"), output=other, **chosen)["task_id"] != found["task_id"]
    assert bench.accepted == 2


def test_a_result_that_nobody_stored_in_time_is_replaced(bench: Bench, shelf: Shelf) -> None:
    instance = bench.imitation(image_url=shelf.url)
    instance.watch(instance.leg())
    let_another_claim_settle(bench)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 50000")
    shelf.etag = '"two"'
    bench.imitate(DagRun("run-2"), image_url=shelf.url, on_input_changed="resubmit")
    assert bench.states() == ["succeeded", "landed"]
    assert bench.accepted == 2


def test_a_dag_run_that_was_cleared_later_looks_at_what_it_landed_before(bench: Bench, shelf: Shelf) -> None:
    wanted = JimengHook().want(
        Request(shelf.url, bench.video), provenance=Provenance("dag", "run-1", "imitate")
    )
    bench.imitate(image_url=shelf.url)
    shelf.etag = '"two"'
    began = bench.rows()[0].created_at
    JimengHook().look_at_inputs(wanted, since=began - 1.0)
    with pytest.raises(JimengInputChangedError):
        JimengHook().look_at_inputs(wanted, since=began + 1.0)


@pytest.mark.parametrize("chosen", ["fail", "resubmit"])
def test_a_bulk_run_that_was_cleared_later_does_as_well(bench: Bench, shelf: Shelf, chosen: str) -> None:
    run = DagRun(start_date=dt.datetime.now(dt.UTC))
    lines = [{"id": "a", "image": shelf.url, "video": bench.video}]
    output = str(bench.folder / "out")
    instance = run.instance(
        JimengBatchOperator, "batch", manifest=lines, output=output, on_input_changed=chosen
    )
    assert instance.finish()["landed"] == 1
    shelf.etag = '"two"'
    assert instance.again().finish()["landed"] == 1, "a retry brings home what its run has paid for"
    assert bench.accepted == 1

    run.start_date = dt.datetime.now(dt.UTC)
    instance.clear()
    if chosen == "resubmit":
        assert instance.finish()["landed"] == 1
    else:
        with pytest.raises(JimengToleranceExceededError, match="1 invalid"):
            instance.finish()
    assert bench.accepted == (2 if chosen == "resubmit" else 1)


def test_a_task_function_whose_dag_run_was_cleared_is_told_of_other_bytes(
    bench: Bench, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[float] = [0.0]
    monkeypatch.setattr(jimeng, "current_provenance", lambda: Provenance("dag", "run-1", "imitate"))
    monkeypatch.setattr(jimeng, "current_run_start", lambda: began[0])
    bench.imitate(image_url=shelf.url)
    shelf.etag = '"two"'
    JimengHook().submit_motion_imitation(shelf.url, bench.video)
    began[0] = time.time()
    with pytest.raises(JimengInputChangedError):
        JimengHook().submit_motion_imitation(shelf.url, bench.video)
    assert bench.accepted == 1


def test_a_process_of_its_own_is_told_of_other_bytes(bench: Bench, shelf: Shelf) -> None:
    JimengHook().submit_motion_imitation(shelf.url, bench.video)
    shelf.etag = '"two"'
    with pytest.raises(JimengInputChangedError):
        JimengHook().submit_motion_imitation(shelf.url, bench.video)
    assert bench.accepted == 1


def let_another_claim_settle(bench: Bench) -> None:
    """Have a claim that found no slot write down the ends of the tasks that are over."""
    hook = JimengHook()
    bench.emu.advance(1.0)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 2")
    assert settle_holders(hook.ledger, hook.client, bench.rows()) == 1


@pytest.mark.parametrize("fault", ["submit:50430", "submit:50429"])
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_wish_to_pay_for_new_bytes_outlives_a_throttled_submit(
    bench: Bench, shelf: Shelf, fault: str, deferrable: bool
) -> None:
    first = bench.imitate(image_url=shelf.url)
    shelf.etag = '"two"'
    bench.emu.add_fault(fault)
    second = bench.imitate(
        DagRun("run-2"), image_url=shelf.url, on_input_changed="resubmit", deferrable=deferrable
    )
    assert second["task_id"] != first["task_id"]
    assert bench.accepted == 2
    assert bench.states() == ["landed", "rejected", "landed"]


def test_a_wish_to_pay_for_a_missing_output_outlives_a_throttled_submit(bench: Bench) -> None:
    first = bench.imitate()
    Path(bench.output).unlink()
    bench.emu.add_fault(f"query:status,status=not_found,times=0,match={first['task_id']}")
    bench.emu.add_fault("submit:50430")
    second = bench.imitate(DagRun("run-2"), on_missing_output="resubmit", deferrable=False)
    assert second["task_id"] != first["task_id"]
    assert bench.accepted == 2


@pytest.mark.parametrize("operator", ["submit", "imitate"])
def test_a_reason_is_paid_once_however_often_it_is_run(bench: Bench, operator: str) -> None:
    act = getattr(bench, operator)
    act(DagRun("run-0"))
    for run in (DagRun(), DagRun("run-2"), DagRun("run-2", "dag-2")):
        act(run, force_new="the client wants another take")
    assert bench.accepted == 2
    act(DagRun("run-4"), force_new="and another")
    assert bench.accepted == 3
    act(DagRun("run-3"))
    assert bench.accepted == 3


def test_a_reason_that_a_template_left_empty_pays_nothing(bench: Bench) -> None:
    bench.submit()
    for template in ("{{ dag_run.conf.get('reason') }}", "{{ none }}", "", "  ", "null"):
        with pytest.raises(JimengError, match="force_new"):
            bench.submit(DagRun("run-2"), force_new=template)
    bench.submit(DagRun("run-3", conf={"reason": "asked for"}), force_new="{{ dag_run.conf.get('reason') }}")
    assert bench.accepted == 2


@pytest.mark.parametrize("field", ["on_unknown_submit", "on_missing_output", "on_input_changed"])
def test_a_choice_may_be_a_template_and_is_checked_when_it_is_rendered(bench: Bench, field: str) -> None:
    template = {field: "{{ dag_run.conf['choice'] }}"}
    manifest = [{"image": bench.image, "video": bench.video, "variant": 7}]
    runs: list[Callable[[DagRun], Any]] = [
        lambda run: bench.imitate(run, **template),
        lambda run: run.task(
            JimengBatchOperator, "batch", manifest=manifest, output=str(bench.folder / "all"), **template
        ),
    ]
    for act in runs:
        with pytest.raises(JimengError, match=field):
            act(DagRun(conf={"choice": "whatever"}))
    assert bench.accepted == 0
    for act in runs:
        act(DagRun(conf={"choice": "resubmit"}))
    assert bench.accepted == 2


def test_what_becomes_of_lines_in_bad_form_may_be_a_template(bench: Bench) -> None:
    manifest = [{"image": bench.image, "video": bench.video}, {"image": bench.image}]
    given = {"manifest": manifest, "output": str(bench.folder / "out"), "tolerance": 1}
    chosen = {"on_invalid": "{{ dag_run.conf['choice'] }}", **given}
    for choice in ("fail", "whatever"):
        with pytest.raises(JimengError):
            DagRun(conf={"choice": choice}).task(JimengBatchOperator, "batch", **chosen)
    assert bench.accepted == 0
    summary = DagRun(conf={"choice": "skip"}).task(JimengBatchOperator, "batch", **chosen)
    assert (summary["landed"], summary["invalid"]) == (1, 1)


def test_a_variant_is_another_content(bench: Bench) -> None:
    for variant in (0, 1, 2, 1, 0):
        bench.submit(DagRun(f"run-{variant}"), variant=variant)
        bench.emu.advance(1.0)
        bench.alter("UPDATE jimeng_tasks SET state = 'succeeded' WHERE state = 'submitted'")
    assert bench.accepted == 3


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "?X-Amz-Algorithm=a&X-Amz-Signature=1&X-Amz-Date=1",
            "?X-Amz-Algorithm=a&X-Amz-Signature=2&X-Amz-Date=2",
        ),
        ("?sv=1&sig=abc&se=1", "?sv=1&sig=def&se=2"),
        ("?X-Tos-Signature=1&X-Tos-Date=1", "?X-Tos-Signature=2&X-Tos-Date=2"),
        ("?Expires=1&OSSAccessKeyId=k&Signature=1", "?Expires=2&OSSAccessKeyId=k&Signature=2"),
        ("", "#t=1"),
    ],
)
def test_a_fresh_presigned_url_is_the_same_content(bench: Bench, before: str, after: str) -> None:
    bench.submit(image_url=bench.image + before)
    bench.submit(DagRun("run-2"), image_url=bench.image + after)
    assert bench.accepted == 1


@pytest.mark.parametrize(("before", "after"), [("?v=1", "?v=2"), ("", "?id=7"), ("?Expires=1", "?Expires=2")])
def test_any_other_query_is_another_content(bench: Bench, before: str, after: str) -> None:
    bench.submit(image_url=bench.image + before)
    bench.submit(DagRun("run-2"), image_url=bench.image + after)
    assert bench.accepted == 2


def test_volatile_parameters_are_a_choice_of_the_configuration(bench: Bench) -> None:
    bench.patch.setenv("AIRFLOW__JIMENG__VOLATILE_QUERY_PARAMS", "nonce, cachebuster")
    bench.submit(image_url=bench.image + "?nonce=1&id=7")
    bench.submit(DagRun("run-2"), image_url=bench.image + "?id=7&cachebuster=9&nonce=2")
    assert bench.accepted == 1


def test_another_product_goes_with_its_whole_body(bench: Bench) -> None:
    body = {"image_url": bench.image, "video_url": bench.video, "prompt": "{{ dag_run.conf['prompt'] }}"}
    runs = [DagRun("run-1", conf={"prompt": "wave"}), DagRun("run-2", conf={"prompt": "wave"})]
    for run in runs:
        bench.submit(run, req_key="jimeng_dream_actor_m1_gen_video_cv", body=body)
    assert bench.accepted == 1
    (task,) = bench.emu.ledger()["tasks"].values()
    assert task["req_key"] == "jimeng_dream_actor_m1_gen_video_cv"

    bench.submit(
        DagRun("run-3", conf={"prompt": "jump"}), req_key="jimeng_dream_actor_m1_gen_video_cv", body=body
    )
    assert bench.accepted == 2


def test_the_second_product_takes_the_same_arguments(bench: Bench) -> None:
    bench.imitate(req_key="jimeng_dreamactor_m20_gen_video")
    bench.imitate(DagRun("run-2"), req_key="jimeng_dreamactor_m20_gen_video")
    bench.imitate(DagRun("run-3"), output=str(bench.folder / "one.mp4"))
    assert bench.accepted == 2


def test_a_renamed_account_is_another_account(bench: Bench) -> None:
    bench.submit()
    bench.connect(account="others")
    bench.submit(DagRun("run-2"))
    assert bench.accepted == 2


def test_a_rotated_key_of_a_named_account_pays_nothing(bench: Bench) -> None:
    bench.submit()
    bench.emu.configure(access_key="AKLTROTATED", secret_key="cm90YXRlZA==")
    bench.connect(login="AKLTROTATED", password="cm90YXRlZA==")
    bench.imitate(DagRun("run-2"))
    assert bench.accepted == 1


def test_operators_retry_by_default_and_as_told(bench: Bench) -> None:
    quiet, told = bench.imitation(), bench.imitation(retries=1)
    for instance, retries in ((quiet, 3), (told, 1)):
        assert instance._built().retries == retries
        assert instance._built().retry_delay.total_seconds() > 0


def test_retries_of_the_dags_default_args_are_kept(bench: Bench) -> None:
    with DAG("defaults", schedule=None, default_args={"retries": 0}):
        operator = JimengSubmitTaskOperator(task_id="submit", image_url=bench.image, video_url=bench.video)
    assert operator.retries == 0
