# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The demo's folder: what it keeps between two runs, so that the second one pays nothing."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.terminal import DemoError

#: Raised when what is kept can no longer be used by this version of the demo.
FORMAT = 2


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Home:
    """
    Paths below one folder, and the few facts that must be the same in every run.

    The vendor's address is one of them: it is part of every content's identity, so a second run with another
    port would be another account's, and would pay again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.media = self.root / "media"
        self.results = self.root / "results"
        self.airflow = self.root / "airflow"
        self.logs = self.root / "logs"
        self.vendor_state = self.root / "vendor.jsonl"
        self._facts_file = self.root / "demo.json"
        self._facts: dict[str, Any] = {}

    @contextmanager
    def opened(self, *, fresh: bool) -> Iterator[Home]:
        """
        Hold the folder for one run.

        :param fresh: forget everything first.
        """
        if self.root.exists() and any(self.root.iterdir()) and not self._is_ours():
            raise DemoError(f"{self.root} holds other things; nothing was touched. Choose another --home")
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise DemoError(f"another demo runs in {self.root}; wait, or choose another --home") from None
            if fresh:
                self._forget()
            self._load()
            for folder in (self.results, self.airflow, self.logs):
                folder.mkdir(exist_ok=True)
            yield self

    @property
    def known(self) -> bool:
        """Whether an earlier run left something here."""
        return self.vendor_state.exists()

    @property
    def vendor_port(self) -> int:
        """The local vendor's port, chosen once."""
        if "vendor_port" not in self._facts:
            self.note(vendor_port=free_port())
        return int(self._facts["vendor_port"])

    def fact(self, name: str) -> Any:
        """Return what an earlier run noted."""
        return self._facts.get(name)

    def note(self, **facts: Any) -> None:
        """Remember something for the next run."""
        self._facts.update(facts)
        part = self._facts_file.with_suffix(".part")
        part.write_text(json.dumps(self._facts, indent=2) + "\n")
        part.replace(self._facts_file)

    def shown(self, path: Path) -> str:
        """Return a path as short as it can be typed from here."""
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)

    def _is_ours(self) -> bool:
        return self._facts_file.exists() or {each.name for each in self.root.iterdir()} == {"lock"}

    def _forget(self) -> None:
        for each in self.root.iterdir():
            if each.name == "lock":
                continue
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink()

    def _load(self) -> None:
        if self._facts_file.exists():
            self._facts = json.loads(self._facts_file.read_text())
            if self._facts.get("format") != FORMAT:
                raise DemoError(f"{self.root} is of another version of this demo; start anew with --fresh")
        else:
            self._facts = {}
            self.note(format=FORMAT)
