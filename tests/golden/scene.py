# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A day in the life of an installation: something of every kind has ended, and something is waiting.

It uses little of the test kits, so that earlier states of the code can play it too.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from airflow.sdk.bases.operator import BaseOperator
from airflow_provider_jimeng.client.settings import AccountSettings
from airflow_provider_jimeng.operators import jimeng as operators
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun, Deferred, Instance, first_event

#: The endpoint as it is known to the ledger, whatever port the local vendor has.
ENDPOINT = "golden.example/cn-north-1"
OTHER_PRODUCT = "jimeng_dreamactor_m20_gen_video"
#: How far the vendor's clock is moved before waiting tasks are over.
LATER = 7200.0
_NOTHING_IS_READ = {"on_input_changed": "reuse"}


def pin_endpoint(patch: pytest.MonkeyPatch) -> None:
    """Let contents have the same keys wherever the local vendor listens."""
    patch.setattr(AccountSettings, "endpoint_name", property(lambda self: ENDPOINT))


def url(name: str) -> str:
    return f"https://golden.example/media/{name}"


def inputs(name: str, **more: Any) -> dict[str, Any]:
    return {"image_url": url(f"{name}.png"), "video_url": url("template.mp4"), **_NOTHING_IS_READ, **more}


def lines(*names: str) -> list[dict[str, str]]:
    return [
        {"id": name, "image": url(f"{name}.png"), "video": url("template.mp4"), "shelf": "a"}
        for name in names
    ]


class Scene:
    """Plays it, and keeps what it left."""

    def __init__(self, bench: Bench, patch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        self.deferrals: list[dict[str, Any]] = []
        self.xcoms: dict[str, Any] = {}
        self._open: list[tuple[dict[str, Any], Deferred]] = []
        self._hints: list[dict[str, Any]] = []
        pin_endpoint(patch)
        defer = BaseOperator.defer

        def noting(operator: Any, **arguments: Any) -> None:
            self._hints.append(arguments.get("kwargs") or {})
            defer(operator, **arguments)

        patch.setattr(BaseOperator, "defer", noting)

    def out(self, name: str) -> str:
        return str(self.bench.folder / "out" / name)

    def play(self) -> None:
        """Let things end, and then let things wait."""
        self._ended()
        self._went_wrong()
        self.bench.emu.configure(duration=3600.0)
        self._wait()

    def play_on(self) -> None:
        """Let the waiting triggers tell, as this release's do."""
        self.bench.emu.advance(LATER)
        # The third in the queue is not told of its turn before the first two have claimed.
        for row, deferred in self._open[:-1]:
            row["event"] = json.loads(json.dumps(asyncio.run(first_event(deferred.trigger()))))

    def _instance(self, case: str, kind: str, **arguments: Any) -> tuple[Instance, dict[str, Any]]:
        made = JimengTaskSensor if kind == "JimengTaskSensor" else getattr(operators, kind)
        instance = DagRun(f"golden-{case}").instance(made, "task", **arguments)
        about = {"case": case, "operator": kind, "run_id": f"golden-{case}", "arguments": arguments}
        return instance, about

    def _row(
        self, about: dict[str, Any], deferred: Deferred, hints: dict[str, Any], **more: Any
    ) -> dict[str, Any]:
        row = {
            **about,
            "classpath": deferred.classpath,
            "kwargs": json.loads(deferred.kwargs),
            "next_method": deferred.method,
            "next_kwargs": json.loads(json.dumps(hints)),
            **more,
        }
        self.deferrals.append(row)
        return row

    def _to_the_end(self, case: str, kind: str, **arguments: Any) -> Any:
        self._hints.clear()
        instance, about = self._instance(case, kind, **arguments)
        self.xcoms[case] = instance.finish()
        for deferred, event, hints in zip(instance.deferrals, instance.events, self._hints, strict=True):
            self._row(about, deferred, hints, event=event)
        return self.xcoms[case]

    def _until_it_waits(self, case: str, kind: str, **arguments: Any) -> None:
        self._hints.clear()
        instance, about = self._instance(case, kind, **arguments)
        deferred = instance.leg()
        assert isinstance(deferred, Deferred), case
        self._open.append((self._row(about, deferred, self._hints[-1], waiting=True), deferred))

    def _ended(self) -> None:
        single, batch = "JimengMotionImitationOperator", "JimengBatchOperator"
        self._to_the_end("imitated", single, output=self.out("imitated.mp4"), **inputs("imitated"))
        reference = self._to_the_end("submitted", "JimengSubmitTaskOperator", **inputs("blocks"))
        result = self._to_the_end("sensed", "JimengTaskSensor", task=reference)
        self._to_the_end("stored", "JimengLandResultOperator", task=result, output=self.out("stored.mp4"))
        for case, deferrable in (("batch", False), ("batch-deferred", True)):
            self._to_the_end(
                case,
                batch,
                manifest=lines(f"{case}-1", f"{case}-2"),
                output=self.out(case),
                deferrable=deferrable,
                **_NOTHING_IS_READ,
            )

    def _went_wrong(self) -> None:
        emu = self.bench.emu
        for fault in (
            "done:50411,match=/failed.",
            "submit:50411,match=/rejected.",
            "submit:50500,match=/unknown.",
        ):
            emu.add_fault(fault)
        for name in ("failed", "rejected", "unknown"):
            instance, _ = self._instance(
                name,
                "JimengMotionImitationOperator",
                output=self.out(f"{name}.mp4"),
                req_key=OTHER_PRODUCT,
                retries=0,
                **inputs(name),
            )
            with pytest.raises(Exception, match="."):
                instance.finish()

    def _wait(self) -> None:
        self._until_it_waits(
            "batch-flight",
            "JimengBatchOperator",
            manifest=lines("batch-flight-1", "batch-flight-2"),
            output=self.out("batch-flight"),
            deferrable=True,
            max_in_flight=1,
            **_NOTHING_IS_READ,
        )
        flight = inputs("flight")
        self._until_it_waits(
            "flight", "JimengMotionImitationOperator", output=self.out("flight.mp4"), **flight
        )
        reference = self._to_the_end("in-flight", "JimengSubmitTaskOperator", **flight)
        self._until_it_waits("sensor-flight", "JimengTaskSensor", task=reference)
        # Both slots are taken from here on.
        self._until_it_waits("queued", "JimengSubmitTaskOperator", **inputs("queued"))
        self._until_it_waits(
            "queued-whole",
            "JimengMotionImitationOperator",
            output=self.out("queued-whole.mp4"),
            **inputs("queued-whole"),
        )
        self._until_it_waits(
            "batch-queued",
            "JimengBatchOperator",
            manifest=lines("batch-queued-1", "batch-queued-2"),
            output=self.out("batch-queued"),
            deferrable=True,
            **_NOTHING_IS_READ,
        )
