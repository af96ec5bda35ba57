# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A vendor, a ledger, a folder and manifests, to run the bulk core without Airflow."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.implementations.local import LocalFileSystem

from airflow_provider_jimeng.api.models import MOTION_IMITATION, Credentials, Endpoint
from airflow_provider_jimeng.bulk.content import Folder
from airflow_provider_jimeng.bulk.items import Fate, Item
from airflow_provider_jimeng.bulk.runner import Run
from airflow_provider_jimeng.bulk.tools import Terms, Tools
from airflow_provider_jimeng.client.aio import AsyncClient
from airflow_provider_jimeng.client.settings import AccountSettings
from airflow_provider_jimeng.client.sync import SyncClient
from airflow_provider_jimeng.exceptions import JimengLandingError
from airflow_provider_jimeng.ledger.records import Provenance, TaskRecord
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle.asking import ask_about
from airflow_provider_jimeng.lifecycle.harvest import Watched, harvest
from airflow_provider_jimeng.lifecycle.land import Fetch, Lander
from airflow_provider_jimeng.lifecycle.submit import Submitter
from airflow_provider_jimeng.lifecycle.wanted import Policies, Request, Superseded, Wanted, want
from airflow_provider_jimeng.media.download import Downloaded, download
from airflow_provider_jimeng.media.guard import NetworkGuard
from airflow_provider_jimeng.media.target import Target

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.parking import Parked
    from airflow_provider_jimeng.emulator import Emulator
    from airflow_provider_jimeng.lifecycle.ensured import Ensured


def place(path: str | Path) -> Target:
    return Target(LocalFileSystem(auto_mkdir=True), str(path), str(path))


def items(emu: Emulator, names: Collection[str | int], **changes: Any) -> list[Item]:
    """Return an item per name; equal names have equal contents."""
    video = emu.media_url("template.mp4")
    return [
        Item(line, str(name), f"{emu.url}/media/n-{name}.png", video, 0, MOTION_IMITATION, changes)
        for line, name in enumerate(names, 1)
    ]


class Works:
    """Runs the core as one task instance after the other."""

    def __init__(self, emu: Emulator, folder: Path, **settings: Any) -> None:
        self.emu, self.folder = emu, folder
        self.ledger = Ledger(f"sqlite:///{folder}/ledger.db")
        self.out = folder / "out"
        values: dict[str, Any] = {
            "connect_timeout": 2.0,
            "read_timeout": 5.0,
            "submit_deadline": 5.0,
            "submit_qps": 100.0,
            "query_qps": 100.0,
            "max_concurrency": emu.config.concurrency,
            **settings,
        }
        self.settings = AccountSettings(
            "test",
            "account",
            Credentials(emu.config.access_key, emu.config.secret_key),
            Endpoint(emu.url),
            **values,
        )
        self.policies = Policies()
        self.budget_seen: list[int | None] = []
        self.runs: list[Run] = []

    # -- what a run is fed with

    def tools(self, fates: list[Fate], provenance: Provenance, **changes: Any) -> Tools:
        client = SyncClient(self.settings)
        guard = NetworkGuard.of_account(self.settings)

        def identify(item: Item) -> Wanted:
            return want(
                Request(item.image, item.video, item.req_key, variant=item.variant),
                settings=self.settings,
                provenance=provenance,
                policies=self.policies,
            )

        def ensure(
            wanted: Wanted,
            *,
            supersede: Superseded | None,
            budget: int | None,
            watched: Any,
            stopping: Any = lambda: False,
            lost: TaskRecord | None = None,
        ) -> Ensured:
            submitter = Submitter(
                self.ledger, client, self.settings, budget=budget, watched=watched, stopping=stopping
            )
            waiter = provenance.attempt_scope
            return submitter.ensure(wanted, waiter=waiter, supersede=supersede, lost=lost)

        def load(record: TaskRecord, url: str | None, into: Path) -> Downloaded:
            if url is None:
                _, decision = harvest(
                    client, Watched(record.task_id or "", record.scope.req_key), now=time.time()
                )
                url = decision.video_url
            if url is None:
                raise JimengLandingError("no URL")
            return download(url, into, guard=guard, timeout=(2.0, 5.0))

        def fetch(record: TaskRecord, url: str | None) -> Fetch:
            return partial(load, record, url)

        made = Tools(
            ledger=self.ledger,
            settings=self.settings,
            want=identify,
            inspect=lambda each: (each, None),
            probe=lambda wanted: None,
            ensure=ensure,
            ask=partial(ask_about, self.ledger, client),
            query_client=lambda: AsyncClient(self.settings),
            fetch=fetch,
            lander=Lander(self.ledger, place),
            folder=Folder(place(self.out)),
            report=lambda fate, line: fates.append(fate),
        )
        return replace(made, **changes)

    def run(
        self,
        lines: Collection[Any],
        run_id: str = "run-1",
        *,
        tools: dict[str, Any] | None = None,
        **terms: Any,
    ) -> list[Fate]:
        """Run to the end; return the fates in the manifest's order."""
        fates: list[Fate] = []
        made = self.prepare(lines, fates, run_id, tools=tools, **terms)
        assert made.run() is None
        return sorted(fates, key=lambda each: each.line)

    def prepare(
        self,
        lines: Collection[Any],
        fates: list[Fate],
        run_id: str = "run-1",
        *,
        tools: dict[str, Any] | None = None,
        whole: bool = False,
        **terms: Any,
    ) -> Run:
        provenance = Provenance("dag", run_id, "batch")
        made = Run(
            self.tools(fates, provenance, **(tools or {})),
            Terms(provenance, policies=self.policies, **terms),
            iter(lines),
            len(lines),
            whole=whole,
        )
        self.runs.append(made)
        return made

    def leg(self, lines: Collection[Any], fates: list[Fate], **terms: Any) -> Parked | None:
        return self.prepare(lines, fates, **terms).run(leg=True)

    # -- what came of it

    @property
    def accepted(self) -> int:
        return int(self.emu.ledger()["totals"]["accepted"])

    @property
    def refused(self) -> dict[str, int]:
        return dict(self.emu.ledger()["refused"])

    @property
    def most_at_once(self) -> int:
        return max((each["max_in_use"] for each in self.emu.ledger()["slots"].values()), default=0)

    def paid_twice(self) -> list[str]:
        return [key for key, each in self.emu.ledger()["contents"].items() if each["accepted"] > 1]

    def files(self) -> dict[str, bytes]:
        return {path.stem: path.read_bytes() for path in sorted(self.out.glob("*.mp4"))}


def outcomes(fates: Collection[Fate]) -> dict[str, int]:
    return dict(Counter(str(each.outcome) for each in fates))


def lines_after(lines: list[Item], after: int) -> Iterator[Item]:
    return (each for each in lines if each.line > after)
