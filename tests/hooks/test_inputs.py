# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Private inputs end to end: a store on this machine, presigned URLs, and a vendor that fetches them."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFileSystem
from moto.server import ThreadedMotoServer

from airflow_provider_jimeng.api.tos import TosStore, presign_get
from airflow_provider_jimeng.exceptions import JimengConfigurationError, JimengInputError
from airflow_provider_jimeng.hooks.inputs import fetchable, presign_seconds
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.hooks.storage import resolve_target
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(64)
SECRET = "c2VjcmV0LXNlY3JldA=="


class Bucket:
    """A bucket of a store on this machine, and what was asked of it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def put(self, name: str, content: bytes) -> str:
        target = resolve_target(f"{self.url}/{name}")
        target.fs.pipe_file(target.path, content)
        return target.uri


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAINPUTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"bucket-{uuid.uuid4().hex}"
    fs = resolve_target(f"s3://{name}/x").fs
    fs.mkdir(name)
    yield Bucket(f"s3://{name}")
    type(fs).clear_instance_cache()
    server.stop()


@pytest.fixture
def vendor(bench: Bench) -> Bench:
    """A vendor that fetches its inputs and looks at their first bytes."""
    bench.emu.configure(inputs="fetch")
    return bench


def sent(bench: Bench) -> list[dict[str, Any]]:
    """What the vendor holds of each task: URLs without their query strings."""
    return [task["content"] for task in bench.emu.ledger()["tasks"].values()]


def test_objects_in_s3_are_presigned_fetched_and_landed_and_paid_once(vendor: Bench, bucket: Bucket) -> None:
    image, video = bucket.put("a folder/人物 1+2.png", PNG), bucket.put("templates/wave.mp4", MP4)
    first = vendor.imitate(image_url=image, video_url=video)
    again = vendor.imitate(DagRun("run-2"), image_url=image, video_url=video)
    assert (first["reused"], again["reused"], vendor.accepted) == (False, True, 1)
    (content,) = sent(vendor)
    assert content["image_url"].startswith("http://127.0.0.1:")
    assert unquote(content["image_url"]).endswith("/a folder/人物 1+2.png")
    # What the ledger keeps is the object's name.
    assert json.loads(vendor.rows()[0].inputs) == {"image_url": image, "video_url": video}


def test_nothing_of_a_presigned_url_is_written_down(
    vendor: Bench, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    instance = vendor.imitation(image_url=bucket.put("a.png", PNG), video_url=bucket.put("a.mp4", MP4))
    caplog.clear()
    returned = instance.finish()
    left = [repr(each) for each in instance.story] + [json.dumps(instance.events), json.dumps(returned)]
    files = [path.read_bytes() for path in vendor.folder.rglob("*") if path.is_file()]
    # The store of this test runs in this process, and logs what it is asked.
    lines = [each.getMessage() for each in caplog.records if each.name != "werkzeug"]
    assert any("accepted content" in each for each in lines)
    for trace in ("X-Amz-Signature", "X-Amz-Credential", "AKIAINPUTS", SECRET):
        assert not [each for each in lines if trace in each]
        assert not any(trace in each for each in left)
        assert not any(trace.encode() in each for each in files)


def test_what_is_presigned_lives_thirteen_hours_and_is_signed_in_version_four(bucket: Bucket) -> None:
    query = parse_qs(urlsplit(fetchable(bucket.put("a.png", PNG))).query)
    assert query["X-Amz-Expires"] == ["46800"]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert fetchable("https://web.example/a.png") == "https://web.example/a.png"


def test_the_lifetime_is_configured_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert presign_seconds() == 46800
    monkeypatch.setenv("AIRFLOW__JIMENG__PRESIGN_SECONDS", "86400")
    assert presign_seconds() == 86400
    for wrong in ("3600", "700000", "a day"):
        monkeypatch.setenv("AIRFLOW__JIMENG__PRESIGN_SECONDS", wrong)
        with pytest.raises(JimengConfigurationError, match="presign_seconds"):
            presign_seconds()


def test_a_manifest_of_objects_lands_and_a_rerun_pays_nothing(vendor: Bench, bucket: Bucket) -> None:
    video = bucket.put("wave.mp4", MP4)
    lines = [{"id": f"n{n}", "image": bucket.put(f"{n}.png", PNG), "video": video} for n in range(4)]
    given: dict[str, Any] = {"manifest": lines, "output": str(vendor.folder / "out")}
    summary = DagRun().task(JimengBatchOperator, "batch", **given)
    again = DagRun("run-2").task(JimengBatchOperator, "batch", **given)
    assert (summary["landed"], again["reused"], again["submits"], vendor.accepted) == (4, 4, 0, 4)
    for name in ("report.jsonl", "report.html", "summary.json"):
        assert "X-Amz" not in (vendor.folder / "out" / name).read_text()


def test_the_hooks_own_submit_presigns_and_the_body_form_is_the_same_content(
    vendor: Bench, bucket: Bucket
) -> None:
    image, video = bucket.put("a.png", PNG), bucket.put("a.mp4", MP4)
    hook = JimengHook()
    first = hook.submit_motion_imitation(image, video)
    assert (
        hook.submit_task("jimeng_dream_actor_m1_gen_video_cv", {"image_url": image, "video_url": video})
        == first
    )
    assert vendor.accepted == 1


def test_the_connection_before_the_bucket_is_no_part_of_the_identity(
    vendor: Bench, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = JimengHook().want
    from airflow_provider_jimeng.lifecycle.wanted import Request

    plain = wanted(Request("s3://bucket/a.png", "s3://bucket/a.mp4")).key
    named = wanted(Request("s3://other_conn@bucket/a.png", "s3://bucket/a.mp4")).key
    escaped = wanted(Request("s3://bucket/%61.png", "s3://bucket/a.mp4")).key
    assert plain == named != escaped


def test_other_bytes_behind_an_objects_name_are_noticed(vendor: Bench, bucket: Bucket) -> None:
    image, video = bucket.put("a.png", PNG), bucket.put("a.mp4", MP4)
    vendor.imitate(image_url=image, video_url=video)
    bucket.put("a.png", PNG + b"other")
    with pytest.raises(Exception, match="Other bytes are behind image_url"):
        vendor.imitate(DagRun("run-2"), image_url=image, video_url=video, retries=0)
    assert vendor.accepted == 1


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("s3://nosuchconnection@bucket/a.png", "image_url: the object in s3://bucket can't be presigned"),
        ("abfs://container/a.png", "image_url: the object in abfs://container can't be presigned"),
        ("tos://bucket/a.png", "there is no connection 'tos_default'"),
        ("tos://nowhere@bucket/a.png", "there is no connection 'nowhere'"),
    ],
)
def test_what_cannot_be_presigned_is_told_before_anything_is_paid(
    vendor: Bench, image: str, words: str
) -> None:
    with pytest.raises(JimengInputError) as told:
        vendor.imitate(image_url=image)
    assert words in str(told.value)
    assert "nothing was paid" in str(told.value)
    assert vendor.emu.ledger()["totals"]["submits"] == 0
    assert vendor.rows() == []


class Unsigning(MemoryFileSystem):  # type: ignore[misc]
    """A store of a known scheme whose filesystem can't presign."""

    protocol = "abfs"


def test_a_filesystem_that_cannot_presign_says_so(vendor: Bench) -> None:
    register_implementation("abfs", Unsigning, clobber=True)
    with pytest.raises(JimengInputError, match="the filesystem of abfs:// can't presign"):
        vendor.submit(image_url="abfs://container/a.png")


# -- TOS -------------------------------------------------------------------------------------------------


class Tos(ThreadingHTTPServer):
    """An object store that checks TOS4 signatures by making them anew."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _TosHandler)
        self.objects = objects
        self.refused: list[str] = []
        self.endpoint = f"http://127.0.0.1:{self.server_port}"


class _TosHandler(BaseHTTPRequestHandler):
    server: Tos

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        _, bucket, key = unquote(parts.path).split("/", 2)
        import datetime as dt

        stamp = dt.datetime.strptime(query["X-Tos-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        store = TosStore(
            "AKLTTOS", SECRET, "cn-beijing", query.get("X-Tos-Security-Token"), self.server.endpoint
        )
        genuine = presign_get(store, bucket, key, seconds=int(query["X-Tos-Expires"]), date=stamp)
        if genuine.rpartition("=")[2] != query["X-Tos-Signature"]:
            self.server.refused.append(key)
            self.send_error(403)
            return
        content = self.server.objects[key]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def tos() -> Iterator[Tos]:
    server = Tos({"素材/人物 1.png": PNG, "wave.mp4": MP4})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def tos_connection(endpoint: str, **extra: Any) -> str:
    values = {"region": "cn-beijing", "endpoint": endpoint, **extra}
    return json.dumps({"conn_type": "tos", "login": "AKLTTOS", "password": SECRET, "extra": values})


@pytest.mark.parametrize("token", [None, "sts-token-of-tests"])
def test_objects_in_tos_are_presigned_by_the_vendors_algorithm(
    vendor: Bench, tos: Tos, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_TOS_DEFAULT", tos_connection(tos.endpoint, session_token=token))
    landed = vendor.imitate(image_url="tos://studio/素材/人物 1.png", video_url="tos://studio/wave.mp4")
    assert landed["bytes"] > 0
    assert (vendor.accepted, tos.refused) == (1, [])
    assert vendor.states() == ["landed"]


@pytest.mark.parametrize("missing", ["login", "password", "region"])
def test_a_tos_connection_that_lacks_something_names_it(
    vendor: Bench, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = json.loads(tos_connection("tos-cn-beijing.volces.com"))
    values.pop(missing, None)
    values["extra"].pop(missing, None)
    monkeypatch.setenv("AIRFLOW_CONN_TOS_DEFAULT", json.dumps(values))
    with pytest.raises(JimengInputError, match="needs a login, a password and the extra `region`"):
        fetchable("tos://studio/a.png", "video_url")


def test_an_endpoint_without_a_scheme_is_https(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ARCHIVE", tos_connection("tos-cn-beijing.volces.com"))
    assert fetchable("tos://archive@studio/a.png").startswith(
        "https://studio.tos-cn-beijing.volces.com/a.png?"
    )
