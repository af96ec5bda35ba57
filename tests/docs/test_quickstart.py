# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The quick start is run as it stands: a file lands, and the second time nothing is paid."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.docs.commands import of_text
from tests.docs.pages import ROOT, page, section


def script(port: int) -> str:
    """Return the commands of the first way, with a port that is free."""
    text = page("docs/quickstart.md")
    names = ("## A home for Airflow", "## With the local vendor", "## When you are done")
    parts = [section(text, name) for name in names]
    lines = ["set -eu", *(line for part in parts for line in of_text(part))]
    return "\n".join(lines).replace("8090", str(port))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.engine
@pytest.mark.timeout(450)
def test_every_command_of_the_first_way_runs_and_one_submit_is_paid(tmp_path: Path) -> None:
    (tmp_path / "dags").symlink_to(ROOT / "dags")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "JIMENG"))}
    environment = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1",
    }
    port = free_port()
    try:
        ran = subprocess.run(
            ["bash", "-c", script(port)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
    finally:
        # Its own last command does this, unless it failed before.
        with contextlib.suppress(requests.ConnectionError):
            requests.post(f"http://127.0.0.1:{port}/_emulator/shutdown", timeout=10)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    landed = tmp_path / "quickstart" / "results" / "single" / "character-01-amber.mp4"
    assert landed.read_bytes()[4:8] == b"ftyp"
    # The line that the vendor's own books print.
    assert re.search(r"^1$", ran.stdout, re.MULTILINE)
