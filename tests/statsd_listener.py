# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What StatsD is to Airflow: a UDP port of this machine, and the lines that arrive there."""

from __future__ import annotations

import re
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_LINE = re.compile(r"(?P<name>[^:,]+)(?:,(?P<tags>[^:]*))?:(?P<value>-?[0-9.]+)\|(?P<kind>c|g|ms)")


@dataclass(frozen=True, slots=True)
class Told:
    """One number: its name, its tags in InfluxDB's form, its value, and ``c``, ``g`` or ``ms``."""

    name: str
    tags: tuple[tuple[str, str], ...]
    value: float
    kind: str


class StatsDListener:
    """Collects what is sent to ``port`` while it is entered."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port: int = self._socket.getsockname()[1]
        self._told: list[Told] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="statsd-listener", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            for line in data.decode("ascii").splitlines():
                if (found := _LINE.match(line)) is not None:
                    pairs = [pair.partition("=") for pair in (found["tags"] or "").split(",") if pair]
                    tags = tuple(sorted((key, value) for key, _, value in pairs))
                    self._told.append(Told(found["name"], tags, float(found["value"]), found["kind"]))

    @property
    def environment(self) -> dict[str, str]:
        """Settings that make an Airflow publish here, tags included."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self.port),
            "AIRFLOW__METRICS__STATSD_PREFIX": "airflow",
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        }

    def named(self, name: str) -> list[Told]:
        """Return what came under a name so far, Airflow's prefix left out."""
        return [each for each in list(self._told) if each.name == f"airflow.{name}"]

    def total(self, name: str) -> float:
        """Return the sum of a counter."""
        return sum(each.value for each in self.named(name))

    def wait_for(self, name: str, least: float, seconds: float = 10.0) -> float:
        """Return a counter's sum as soon as it is at least so much; UDP takes its time, too."""
        until = time.monotonic() + seconds
        while (found := self.total(name)) < least and time.monotonic() < until:
            time.sleep(0.05)
        return found

    @property
    def names(self) -> set[str]:
        """Return all names of the provider's."""
        return {
            each.name.removeprefix("airflow.")
            for each in list(self._told)
            if each.name.startswith("airflow.jimeng.")
        }
