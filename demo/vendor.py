# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The local vendor of the demo: the emulator as a process, the connection to it, and what it was paid for."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.emulator.config import EmulatorConfig
from airflow_provider_jimeng.emulator.sample_media import make_media
from demo.processes import Child

if TYPE_CHECKING:
    from demo.home import Home

IMAGES, VIDEOS = 12, 3
#: Contents that only the bulk run wants.
BULK_NEW = 11
#: As many as a small account has, and short tasks, so that the demo ends in a few minutes.
SLOTS = 2
TASK_SECONDS = 5.0
HEIGHT = 480


class Vendor:
    """
    The emulator, seen from outside.

    :param home: keeps its state file and its port, so that another run meets the same vendor.
    """

    def __init__(self, home: Home, environment: Mapping[str, str]) -> None:
        config = EmulatorConfig()
        self.url = f"http://127.0.0.1:{home.vendor_port}"
        self.media_url = f"{self.url}/media"
        self._keys = config.access_key, config.secret_key
        # Proxies of the environment are for the world outside.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        options = {
            "port": home.vendor_port,
            "concurrency": SLOTS,
            "duration": TASK_SECONDS,
            "results": "render",
            "render-height": HEIGHT,
            "media": home.media,
            "state": home.vendor_state,
        }
        command = [sys.executable, "-m", "airflow_provider_jimeng.emulator"]
        command += [f"--{name}={value}" for name, value in options.items()]
        self.process = Child("vendor", command, environment, home.logs)

    @property
    def connection(self) -> str:
        """The Airflow connection to it, as ``AIRFLOW_CONN_VOLCENGINE_DEFAULT`` takes it."""
        login, password = self._keys
        extra = {"max_concurrency": SLOTS, "submit_qps": 10, "query_qps": 50}
        return json.dumps(
            {
                "conn_type": "volcengine",
                "login": login,
                "password": password,
                "host": self.url,
                "extra": extra,
            }
        )

    def answers(self) -> bool:
        """Tell whether it is up."""
        try:
            self.ledger()
        except (OSError, ValueError):
            return False
        return True

    def ledger(self) -> dict[str, Any]:
        """Return its own book: what it accepted, refused and handed out."""
        with self._opener.open(f"{self.url}/_emulator/ledger", timeout=10) as answer:
            book: dict[str, Any] = json.load(answer)
        return book


def make_sample_media(folder: Path) -> list[Path]:
    """
    Draw the images and template videos, unless an earlier run did; return their paths.

    Once, because the provider notices when other bytes appear behind a URL that was paid for.
    """
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".media-") as part:
            make_media(Path(part) / "media", images=IMAGES, videos=VIDEOS)
            os.replace(Path(part) / "media", folder)
    return sorted(folder.iterdir())
