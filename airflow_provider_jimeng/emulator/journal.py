# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The state file: one JSON line per event, so that a killed emulator forgets no task it accepted."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class JournalError(RuntimeError):
    """The state file is in use, or isn't one."""


class Journal:
    """
    Append-only file of events.

    Every event is handed to the kernel before the answer goes out, so ``kill -9`` loses none; an accepted
    submit is also synced to the disk.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise JournalError(f"{self.path}: another emulator uses this state file") from error

    def replay(self) -> Iterator[dict[str, Any]]:
        """
        Yield every whole event, and cut off a torn last line.

        :raises JournalError: for a damaged line that isn't the last one.
        """
        good = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    event = json.loads(line)
                except ValueError as error:
                    raise JournalError(f"{self.path}: line {number} is damaged") from error
                good += len(line)
                yield event
        os.ftruncate(self._fd, good)

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Write one event; ``sync`` waits for the disk."""
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        while line:
            line = line[os.write(self._fd, line) :]
        if sync:
            os.fsync(self._fd)

    def clear(self) -> None:
        """Forget everything."""
        os.ftruncate(self._fd, 0)
        os.fsync(self._fd)

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)
