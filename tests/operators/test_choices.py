# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a user may choose that costs money, and that nothing is chosen by accident."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG
from airflow_provider_jimeng.exceptions import JimengError, JimengInputChangedError
from airflow_provider_jimeng.operators.jimeng import JimengSubmitTaskOperator

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


@pytest.mark.parametrize("operator", ["submit", "imitate"])
def test_a_reason_is_paid_once_however_often_it_is_run(bench: Bench, operator: str) -> None:
    act = getattr(bench, operator)
    act()
    for run in (DagRun(), DagRun("run-2"), DagRun("run-2", "dag-2")):
        act(run, force_new="the client wants another take")
    assert bench.accepted == 2
    act(DagRun(), force_new="and another")
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
