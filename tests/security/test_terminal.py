# Licensed under the Apache License, Version 2.0. See LICENSE.
"""No word of the vendor, a server or a store moves a cursor, turns letters around or forges a log line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_jimeng.emulator.faults import Fault
from airflow_provider_jimeng.exceptions import JimengError
from airflow_provider_jimeng.media.guard import FetchError, NetworkGuard, RefusedAddressError
from airflow_provider_jimeng.media.presign import cannot
from airflow_provider_jimeng.media.target import Target

from tests.bulk.runs import folder_at, item, landed, write_report
from tests.client.servers import answering, serving
from tests.legs import Bench, DagRun

FORGED = (
    "ok\x1b[2J\x1b]8;;https://evil.test\x07\u202etxt.exe\u2066\x9b31m\r\n[2026-01-01] ERROR forged\u2028line"
)
MOVES = ("\x1b", "\x07", "\u202e", "\u2066", "\x9b", "\r", "\u2028")


def assert_plain(text: str) -> None:
    assert [hex(ord(char)) for char in MOVES if char in text] == []


@pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "on-worker"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault("submit", "code", code=50411, message=FORGED, times=0),
        Fault("submit", "gateway", code=100009, message=FORGED, name=FORGED, times=0),
        Fault("submit", "code", code=50500, message=FORGED, created=True),
        Fault("done", "code", code=50511, message=FORGED, times=0),
        Fault("query", "code", code=50215, message=FORGED, status=FORGED, times=2),
        Fault("query", "status", status=FORGED, times=2),
    ],
    ids=["refusal", "gateway", "unknown", "verdict", "query", "status"],
)
def test_the_vendors_words_are_plain_in_logs_and_errors(
    bench: Bench, fault: Fault, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bench.emu.add_fault(fault)
    instance = bench.imitation(DagRun(), retries=0, deferrable=deferrable, max_attempts=1)
    with caplog.at_level(logging.DEBUG, "airflow_provider_jimeng"):
        try:
            instance.finish()
        except JimengError:
            assert instance.errors
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("airflow")]
    lines += [str(error) for error in instance.errors]
    assert lines
    assert_plain("".join(lines))
    assert [line for line in lines if "\n" in line] == []
    assert_plain("".join(row.message + row.note for row in bench.rows()))


def test_a_servers_redirect_is_told_plainly() -> None:
    location = "/\x1b[2J\x9b31m?sig=51gned"
    with serving(answering(b"", "302 Found", Location=location)) as server:
        with (
            pytest.raises(FetchError, match="redirects") as caught,
            NetworkGuard(allow_loopback=True).open(f"{server.url}/a"),
        ):
            raise AssertionError("it was opened")
    assert_plain(str(caught.value))
    assert "51gned" not in str(caught.value)
    with pytest.raises(RefusedAddressError) as refused:
        NetworkGuard().check("gopher://h/\x1b[2J\u202e")
    assert_plain(str(refused.value))


class Store(LocalFileSystem):  # type: ignore[misc]
    """A store whose errors quote whatever its server says, as those of S3 do."""

    cachable = False

    def info(self, path: str, **_: Any) -> Any:
        raise PermissionError(f"AccessDenied {FORGED} at https://s3.test/k?X-Amz-Signature=51gned")


def test_a_stores_words_are_plain_and_without_signatures() -> None:
    target = Target(Store(), "/bucket/a.mp4", "s3://bucket/a.mp4")
    with pytest.raises(JimengError, match="AccessDenied") as caught:
        target.stat()
    assert_plain(str(caught.value))
    told = str(cannot("image_url", "s3://bucket/a", PermissionError(f"{FORGED} https://h/?sig=51gned")))
    assert_plain(told)
    assert "51gned" not in told


def test_a_report_that_is_looked_at_in_a_terminal_is_plain(tmp_path: Path) -> None:
    out = folder_at(tmp_path)
    each = item(1, carried={"note": FORGED, FORGED: 1, "title": "数据 \U0001f468\u200d\U0001f469 é"})
    write_report(out, [(landed(each, out, message=FORGED, error=FORGED), each)])
    raw = (tmp_path / "report.jsonl").read_text(encoding="utf-8")
    assert_plain(raw)
    assert raw.count("\n") == 1
    told = json.loads(raw)
    assert (told["note"], told["message"], told[FORGED]) == (FORGED, FORGED, 1)
    assert "数据 \U0001f468\u200d\U0001f469 é" in raw
