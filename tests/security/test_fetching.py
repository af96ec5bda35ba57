# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A worker reads no address that a manifest, the vendor or a redirect should not lead it to."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from airflow_provider_jimeng.emulator.faults import Fault
from airflow_provider_jimeng.exceptions import JimengInputError, JimengLandingError
from airflow_provider_jimeng.media.guard import NetworkGuard, RefusedAddressError
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.client.servers import answering, serving
from tests.legs import Bench, DagRun
from tests.media.files import image, serving as serving_files, video
from tests.structure.imports import SOURCES, modules

OPEN = NetworkGuard(allow_loopback=True)
#: Places that no redirect may lead to even where the vendor is an emulator, whatever their spelling.
ELSEWHERE = [
    "http://169.254.169.254/latest/meta-data",
    "http://[fe80::1]/x",
    "http://[::ffff:169.254.169.254]/x",
    "http://[fd00:ec2::254]/latest",
    "http://100.96.0.96/latest",
    "http://2852039166/latest",
    "http://0xA9FEA9FE/latest",
    "http://0251.0376.0251.0376/latest",
    "http://169.254.43518/latest",
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "gopher://127.0.0.1/x",
]
#: What a URL library can't take apart.
BROKEN = ["http://h:99999/x", "http://h:abc/x", "http://[::1/x", "//[x]/x"]


@pytest.mark.parametrize("location", ELSEWHERE)
def test_a_redirect_of_an_input_is_refused(location: str) -> None:
    with (
        serving(answering(b"", "302 Found", Location=location)) as server,
        pytest.raises(RefusedAddressError),
        OPEN.open(f"{server.url}/a"),
    ):
        raise AssertionError("it was opened")


@pytest.mark.parametrize("location", BROKEN)
def test_a_redirect_that_can_not_be_read_is_refused_as_well(location: str) -> None:
    with (
        serving(answering(b"", "302 Found", Location=location)) as server,
        pytest.raises(RefusedAddressError, match="can't be read"),
        OPEN.open(f"{server.url}/a"),
    ):
        raise AssertionError("it was opened")


@pytest.mark.parametrize(
    "url",
    [
        "http://0177.0.0.1/x",
        "http://017700000001/x",
        "http://0x7f000001/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://[::ffff:7f00:1]/x",
        "http://[::127.0.0.1]/x",
        "http://[fd12:3456::1]/x",
        "http://[fc00::1]/x",
        "http://[fec0::1]/x",
        "http://[64:ff9b::7f00:1]/x",
        "http://[64:ff9b:1::7f00:1]/x",
        "http://[2002:7f00:1::]/x",
        "http://LOCALHOST/x",
        "http://0/x",
    ],
)
def test_no_spelling_of_a_private_address_passes(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        NetworkGuard().check(url)


@pytest.mark.parametrize("location", [ELSEWHERE[0], "file:///etc/passwd", BROKEN[0], BROKEN[2]])
def test_a_result_that_leads_elsewhere_is_not_read_and_its_task_stays_paid_once(
    bench: Bench, location: str
) -> None:
    bench.emu.add_fault(Fault("download", "redirect", times=0, location=location))
    reference = bench.submit()
    result = bench.wait(reference)
    with pytest.raises(JimengLandingError) as caught:
        bench.land(result)
    assert "x-signature" not in str(caught.value)
    assert not Path(bench.output).exists()
    bench.emu.clear_faults()
    assert Path(bench.land(result)["uri"]).stat().st_size > 0
    assert bench.accepted == 1


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "[fd00::1]", "100.96.0.96"])
def test_a_result_on_a_private_address_of_a_vendor_that_is_public_is_refused(host: str) -> None:
    with (
        pytest.raises(RefusedAddressError, match="allowed_networks"),
        NetworkGuard().open(f"http://{host}/results/1.mp4"),
    ):
        raise AssertionError("it was opened")


@pytest.mark.parametrize("location", [ELSEWHERE[0], BROKEN[0], BROKEN[2]])
def test_one_line_of_a_manifest_that_leads_elsewhere_stops_no_other(bench: Bench, location: str) -> None:
    bench.patch.setenv("AIRFLOW__JIMENG__PROBE", "True")
    with serving_files() as files, serving(answering(b"", "302 Found", Location=location)) as odd:
        template = files.add("b.mp4", video())
        lines = [
            {"id": "good", "image": files.add("a.png", image()), "video": template},
            {"id": "bad", "image": f"{odd.url}/a.png?X-Amz-Signature=51gnedbys3", "video": template},
        ]
        batch = DagRun().instance(
            JimengBatchOperator,
            manifest=lines,
            output=str(bench.folder / "out"),
            tolerance=1,
            poke_interval=0.1,
        )
        batch.finish()
    told = [json.loads(line) for line in (bench.folder / "out" / "report.jsonl").read_text().splitlines()]
    assert [(line["id"], line["outcome"]) for line in told] == [("good", "landed"), ("bad", "invalid")]
    assert "51gned" not in json.dumps(told)
    assert bench.accepted == 1


def test_an_input_that_leads_elsewhere_is_not_submitted(bench: Bench) -> None:
    with (
        serving(answering(b"", "302 Found", Location=ELSEWHERE[0])) as odd,
        pytest.raises(JimengInputError, match="link-local"),
    ):
        bench.submit(image_url=f"{odd.url}/a.png")
    assert bench.accepted == 0


#: What opens a connection to where a URL says, and the modules that may: the clients of the configured
#: endpoint, the guard, and the emulator, which is a server of its own.
_OPENERS = {
    "get",
    "urlopen",
    "ClientSession",
    "Session",
    "create_connection",
    "HTTPConnection",
    "OnceAdapter",
}
_LIBRARIES = {"requests", "aiohttp", "urllib", "request", "socket", "client", "httpx"}
MAY_OPEN = {"client.aio", "client.sync", "client.adapter", "media.guard"}


def openers(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in _OPENERS - {"get"}:
                found.add(called.id)
            if isinstance(called, ast.Attribute) and called.attr in _OPENERS:
                owner = called.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                if name in _LIBRARIES:
                    found.add(f"{name}.{called.attr}")
    return found


def test_nothing_but_the_guard_opens_a_url_of_a_manifest_or_of_the_vendor() -> None:
    opening = {
        name
        for name, path in modules()
        if not name.startswith("emulator") and openers(path.read_text(encoding="utf-8"))
    }
    assert opening <= MAY_OPEN
    assert "media.guard" in opening
    assert openers("import requests\nrequests.get(url)") == {"requests.get"}
    assert SOURCES.is_dir()
