# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The emulator, which fails and forgets on demand, listens on loopback and warns of anything else."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig, command

from tests.structure.imports import ROOT


def listening(port: int) -> set[str]:
    """Return the local addresses on which a port is listened to, as the kernel tells them."""
    found = set()
    for name in ("tcp", "tcp6"):
        path = Path("/proc/net") / name
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            local, state = line.split()[1], line.split()[3]
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(address)
    return found


def test_nothing_but_loopback_is_listened_on_by_default() -> None:
    assert ip_address(EmulatorConfig().host).is_loopback
    assert ip_address(command._parser().parse_args([]).host).is_loopback
    with Emulator() as emulator:
        if Path("/proc/net/tcp").exists():
            assert listening(emulator.port) == {"0100007F"}
        assert emulator.url == f"http://127.0.0.1:{emulator.port}"


class FakeServer:
    """Stands in for the server, so that no test listens on another address."""

    port = 1

    def __init__(self, config: EmulatorConfig, faults: Any) -> None:
        import asyncio

        self.config, self.stopped = config, asyncio.Event()

    async def start(self) -> None:
        self.stopped.set()

    async def stop(self) -> None:
        self.stopped.set()


@pytest.mark.parametrize(
    ("host", "warned"),
    [
        ("127.0.0.1", False),
        ("localhost", False),
        ("::1", False),
        ("0.0.0.0", True),
        ("10.0.0.5", True),
        ("", True),
    ],
)
def test_listening_elsewhere_is_warned_of(
    host: str, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "Server", FakeServer)
    assert command.main(["--host", host, "--port", "1"]) == 0
    told = capsys.readouterr()
    assert ("is not loopback" in told.err) is warned
    assert told.out == f"Jimeng emulator on http://{host}:1\n"


def test_nothing_of_the_project_tells_it_to_listen_elsewhere() -> None:
    sources = [path for folder in ("demo", "dags", "scripts") for path in (ROOT / folder).rglob("*.py")]
    sources.append(ROOT / "Makefile")
    assert len(sources) > 5
    assert [path.name for path in sources if "0.0.0.0" in path.read_text(encoding="utf-8")] == []
