# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the emulated account may do, how fast it works, and how faithful its results are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_jimeng.api.models import RESULT_URL_LIFETIME_SECONDS, TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.emulator.pictures import MAX_PICTURES

#: Vendor facts, section 4: about 18 s of processing per second of template video.
PROCESSING_FACTOR = 18.0

RESULTS = ("cheap", "render")
INPUTS = ("ignore", "fetch", "decode")

#: What cannot change while the server runs.
FIXED = frozenset({"host", "port", "state", "media_dir", "seed", "render_workers"})


@dataclass(frozen=True, slots=True)
class EmulatorConfig:
    """
    Settings of one emulator. All durations are the vendor's seconds; ``speed`` of them pass in a real one.

    :param host: address to bind; loopback unless told.
    :param port: 0 picks a free one.
    :param access_key: the one access key id that is known.
    :param secret_key: its secret.
    :param session_token: makes the key a temporary (STS) one: every request must carry and sign this token.
    :param region: of the signature's scope.
    :param service: of the signature's scope.
    :param concurrency: slots per req_key, or a mapping with a ``"*"`` default; ``None`` is unlimited.
    :param duration: of every task; ``None`` is 18 s per second of template video, as the vendor's.
    :param jitter: share by which a duration varies at random, 0 to 1.
    :param queue_share: share of the duration that is spent ``in_queue``.
    :param clip_seconds: assumed length of a template video that isn't decoded.
    :param speed: scales durations, task expiry and URL expiry; not QPS, not fault delays.
    :param submit_qps: submits a second before 50429; ``None`` is unlimited.
    :param query_qps: queries a second before 50429.
    :param task_lifetime: after it, a task is ``not_found``.
    :param url_lifetime: after it, a result URL is answered with 403.
    :param results: ``"render"`` makes a real video from the inputs, ``"cheap"`` a tiny one, unique per task.
    :param inputs: ``"decode"`` fetches and decodes both inputs, ``"fetch"`` looks at their first bytes,
        ``"ignore"`` doesn't touch them; default: ``"decode"`` where results are rendered, else ``"ignore"``.
    :param pictures: how many a task makes whose product makes pictures, unless its body forces a single one.
    :param render_height: shorter side of a rendered video, in pixels.
    :param render_workers: processes that render.
    :param media_dir: folder served under ``/media/``.
    :param state: file that lets a killed emulator remember every task.
    :param seed: makes random faults, jitter and task ids repeatable.
    :param clock_offset: seconds by which the gateway's clock is ahead of this host's.
    :param clock_tolerance: accepted age of a signature, either way.
    """

    host: str = "127.0.0.1"
    port: int = 0
    access_key: str = "AKLTEMULATOR"
    secret_key: str = field(default="RW11bGF0b3JTZWNyZXRLZXk=", repr=False)
    session_token: str | None = field(default=None, repr=False)
    region: str = "cn-north-1"
    service: str = "cv"
    concurrency: int | Mapping[str, int] | None = 2
    duration: float | None = None
    jitter: float = 0.0
    queue_share: float = 0.1
    clip_seconds: float = 5.0
    speed: float = 1.0
    submit_qps: float | None = None
    query_qps: float | None = None
    task_lifetime: float = TASK_LIFETIME_SECONDS
    url_lifetime: float = RESULT_URL_LIFETIME_SECONDS
    results: str = "cheap"
    inputs: str | None = None
    pictures: int = 1
    render_height: int = 720
    render_workers: int = 1
    media_dir: Path | str | None = None
    state: Path | str | None = None
    seed: int | None = None
    clock_offset: float = 0.0
    clock_tolerance: float = 900.0

    def __post_init__(self) -> None:
        _check_choice("results", self.results, RESULTS)
        if self.inputs is not None:
            _check_choice("inputs", self.inputs, INPUTS)
        for name in ("speed", "clip_seconds", "task_lifetime", "url_lifetime", "clock_tolerance"):
            _check_number(name, getattr(self, name), above=0.0)
        for name in ("submit_qps", "query_qps"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name), above=0.0)
        if self.duration is not None:
            _check_number("duration", self.duration, least=0.0)
        for name in ("jitter", "queue_share"):
            _check_number(name, getattr(self, name), least=0.0, most=1.0)
        if not isinstance(self.pictures, int):
            raise ValueError(f"pictures: must be a whole number, got {self.pictures!r}")
        _check_number("pictures", self.pictures, least=1, most=MAX_PICTURES)
        _check_number("render_height", self.render_height, least=16, most=2160)
        _check_number("render_workers", self.render_workers, least=1, most=64)
        _check_concurrency(self.concurrency)
        if not self.access_key or not self.secret_key:
            raise ValueError("access_key and secret_key must not be empty")

    @property
    def effective_inputs(self) -> str:
        """How inputs are looked at, with the default applied."""
        return self.inputs or ("decode" if self.results == "render" else "ignore")

    def limit_for(self, req_key: str) -> int | None:
        """Slots of a req_key; ``None`` is unlimited."""
        if isinstance(self.concurrency, Mapping):
            return self.concurrency.get(req_key, self.concurrency.get("*"))
        return self.concurrency

    def patched(self, changes: Mapping[str, Any]) -> EmulatorConfig:
        """
        Return a copy with other settings, checked like the first ones.

        :raises ValueError: naming the field that is unknown, fixed while running, or out of range.
        """
        known = {item.name for item in dataclasses.fields(self)}
        for name in changes:
            if name not in known:
                raise ValueError(f"{name}: no such setting")
            if name in FIXED:
                raise ValueError(f"{name}: can't change while the emulator runs")
        return dataclasses.replace(self, **changes)

    def public(self) -> dict[str, Any]:
        """Settings as JSON, without secrets."""
        shown: dict[str, Any] = {}
        for item in dataclasses.fields(self):
            if item.name in ("secret_key", "session_token"):
                continue
            value = getattr(self, item.name)
            shown[item.name] = str(value) if isinstance(value, Path) else value
            if isinstance(value, Mapping):
                shown[item.name] = dict(value)
        return shown


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: must be one of {', '.join(choices)}, got {value!r}")


def _check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float = math.inf,
) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name}: must be a number, got {value!r}")
    if (above is not None and value <= above) or (least is not None and value < least) or value > most:
        raise ValueError(f"{name}: out of range, got {value!r}")


def _check_concurrency(value: object) -> None:
    limits = list(value.values()) if isinstance(value, Mapping) else [value] if value is not None else []
    for limit in limits:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise ValueError(f"concurrency: must be a whole number of slots, got {limit!r}")
