# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Places for results: the disk, Airflow's filesystems, any other of fsspec, and a real S3 protocol."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.exceptions import JimengInputError, JimengOutputExistsError
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.hooks.storage import resolve_target

from tests.legs import Bench, DagRun
from tests.operators.test_batch_scenarios import lines, run


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve S3 on this machine; yield the URL of its bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"bucket-{uuid.uuid4().hex}"
    fs = resolve_target(f"s3://{name}/x").fs
    fs.mkdir(name)
    yield f"s3://{name}"
    type(fs).clear_instance_cache()
    server.stop()


def test_a_path_and_its_file_url_are_one_place(tmp_path: Path) -> None:
    path = f"{tmp_path}/a//b/./c.mp4"
    assert resolve_target(path).uri == resolve_target(f"file://{path}").uri == f"{tmp_path}/a/b/c.mp4"
    assert resolve_target(path).is_local
    assert not resolve_target("memory://a/b.mp4").is_local


@pytest.mark.parametrize("output", ["nosuchstore://bucket/a.mp4", "s3://nosuchconnection@bucket/a.mp4"])
def test_a_store_that_cannot_be_used_is_an_error_of_the_field(output: str) -> None:
    with pytest.raises(JimengInputError, match=r"^output: .*othing was paid"):
        resolve_target(output)
    with pytest.raises(JimengInputError, match=r"^elsewhere: "):
        resolve_target(output, "elsewhere")


def test_results_go_to_s3_and_are_found_there(bench: Bench, bucket: str) -> None:
    first = bench.imitate(output=f"{bucket}/folder/a.mp4")
    again = bench.imitate(DagRun("run-2"), output=f"{bucket}/folder/a.mp4")
    copied = bench.imitate(DagRun("run-3"), output=bench.output)

    assert (first["reused"], again["reused"]) == (False, True)
    assert hashlib.sha256(Path(bench.output).read_bytes()).hexdigest() == first["sha256"] == copied["sha256"]
    assert bench.accepted == 1
    assert bench.emu.ledger()["totals"]["downloads"] == 1
    (landing, _) = sorted(bench.ledger.landings(first["content_key"]), key=lambda each: each.id)
    assert landing.etag


def test_results_on_s3_are_served_as_what_they_are(bench: Bench, bucket: str) -> None:
    outputs = [f"{bucket}/{name}.mp4" for name in ("imitated", "copied", "later", "batch/1", "unknown")]
    first = bench.imitate(output=outputs[0])
    bench.imitate(DagRun("run-2"), output=outputs[1])
    bench.imitate(DagRun("run-3"), output=outputs[0], variant=1)
    bench.imitate(DagRun("run-4"), output=outputs[2])
    run(bench, lines(bench, [1]), output=f"{bucket}/batch")
    raw = JimengHook().unsafe_submit(MOTION_IMITATION, {"image_url": bench.image, "video_url": bench.video})
    bench.land(bench.wait({"task_id": raw, "req_key": MOTION_IMITATION}), output=outputs[4])

    fs = resolve_target(outputs[0]).fs
    assert {each: fs.info(each, refresh=True)["ContentType"] for each in outputs} == dict.fromkeys(
        outputs, first["content_type"]
    )
    assert first["content_type"] == "video/mp4"


def test_a_result_on_s3_makes_way_for_another_and_is_not_lost(bench: Bench, bucket: str) -> None:
    output = f"{bucket}/folder/a.mp4"
    first = bench.imitate(output=output)
    second = bench.imitate(DagRun("run-2"), output=output, variant=1)
    target = resolve_target(output)
    assert target.sha256() == second["sha256"]
    (safe,) = (
        each for each in target.fs.ls(f"{bucket}/folder/.jimeng", detail=False) if each.endswith(".mp4")
    )
    assert resolve_target(f"s3://{safe}").sha256() == first["sha256"]
    assert bench.accepted == 2


def test_a_result_on_s3_is_not_lost_to_who_overwrites_it_under_another_name(
    bench: Bench, bucket: str
) -> None:
    one, other = f"{bucket}/folder/a.mp4", f"{bucket.replace('s3:', 's3a:')}/folder/a.mp4"
    first = bench.imitate(output=one)
    second = bench.imitate(DagRun("run-2"), output=other, variant=1, overwrite=True)
    assert resolve_target(one).sha256() == second["sha256"] != first["sha256"]

    bench.emu.add_fault("download:status,times=0")
    bench.imitate(DagRun("run-3"))
    assert hashlib.sha256(Path(bench.output).read_bytes()).hexdigest() == first["sha256"]
    assert bench.accepted == 2


def test_a_foreign_object_and_a_missing_bucket_stop_before_anything_is_paid(
    bench: Bench, bucket: str
) -> None:
    target = resolve_target(f"{bucket}/a.mp4")
    target.fs.pipe_file(target.path, b"holiday")
    with pytest.raises(JimengOutputExistsError):
        bench.imitate(output=target.uri)
    assert target.fs.cat_file(target.path) == b"holiday"
    with pytest.raises(JimengInputError, match="output: the bucket 'nosuchbucket'"):
        bench.imitate(output="s3://nosuchbucket/a.mp4")
    with pytest.raises(JimengInputError, match="output"):
        bench.imitate(output=f"{bucket}/folder/")
    assert bench.emu.ledger()["totals"]["submits"] == 0
