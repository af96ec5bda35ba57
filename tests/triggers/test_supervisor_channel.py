# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Triggers that ask a triggerer's supervisor for connections, all at once, over Airflow's own channel.

On Airflow 3.1 a plain thread that asks mixes up the answers, and the triggerer ends with all that waits in
it. From 3.2 on Airflow itself leads a thread's questions back to the loop, so there is nothing to test; make
matrix runs this on 3.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from tests.airflow_versions import AIRFLOW

TRIGGERS = 30
ROOT = Path(__file__).parents[2]


def recv(ours: socket.socket, count: int) -> bytes:
    """Return so many bytes, fewer at the end of the stream."""
    got = b""
    while len(got) < count and (more := ours.recv(count - len(got))):
        got += more
    return got


def supervise(ours: socket.socket) -> None:
    """Answer questions for connections as a supervisor would, one after the other."""
    from airflow.sdk.execution_time.comms import ConnectionResult, _RequestFrame, _ResponseFrame

    decoder = msgspec.msgpack.Decoder(_RequestFrame)
    while length := int.from_bytes(recv(ours, 4), "big"):
        frame = decoder.decode(recv(ours, length))
        answer = None
        body = frame.body or {}
        if body.get("type") == "GetConnection":
            conn_id = body["conn_id"]
            # Releases differ in which fields of it may be left out.
            result: Any = ConnectionResult
            found = result(
                conn_id=conn_id, conn_type="volcengine", login=f"AK{conn_id}", password=f"secret-of-{conn_id}"
            )
            answer = found.model_dump()
        ours.sendall(_ResponseFrame(id=frame.id, body=answer).as_bytes())


async def ask_all() -> list[str]:
    """Return the access key that each of many hooks reads, while the triggerer has questions of its own."""
    from airflow.jobs.triggerer_job_runner import TriggerCommsDecoder
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetConnection
    from airflow_provider_jimeng.hooks.volcengine import VolcengineHook

    here, there = socket.socketpair()
    threading.Thread(target=supervise, args=(there,), daemon=True).start()
    reader, writer = await asyncio.open_connection(sock=here)
    channel: Any = TriggerCommsDecoder(socket=here, async_writer=writer, async_reader=reader)
    task_runner.SUPERVISOR_COMMS = channel

    async def read(number: int) -> str:
        return (await VolcengineHook(f"c{number}").aget_settings()).credentials.access_key

    async def heartbeat() -> None:
        for number in range(TRIGGERS):
            answer = await channel.asend(GetConnection(conn_id=f"own{number}"))
            assert answer.conn_id == f"own{number}"

    with contextlib.closing(writer):
        *keys, _ = await asyncio.gather(*(read(number) for number in range(TRIGGERS)), heartbeat())
    return [str(key) for key in keys]


if AIRFLOW < (3, 2):

    def test_triggers_that_read_their_connections_at_once_each_get_their_own():
        # A process of its own: it has a triggerer's channel to the end of its life, and may hang.
        command = [sys.executable, "-m", "tests.triggers.test_supervisor_channel"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stdout.splitlines()[-1]) == [f"AKc{number}" for number in range(TRIGGERS)]


def main() -> None:
    print(json.dumps(asyncio.run(asyncio.wait_for(ask_all(), 40))), flush=True)


if __name__ == "__main__":
    main()
