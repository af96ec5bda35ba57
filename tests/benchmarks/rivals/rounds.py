# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What each contender is put through, one contender after the other.

``first``      all items, nothing goes wrong
``again``      the finished run cleared, so that every task of it runs again; the files are there
``elsewhere``  items of it in a new run, into another folder: tomorrow's run of an overlapping list
``killed``     new items; halfway every worker that runs a task is killed once
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.benchmarks.rivals.money import Item, accepted_of, landing_seconds, money
from tests.benchmarks.slots import figures
from tests.engine.chaos.judge import rows_of
from tests.engine.rest import NotSeenError

if TYPE_CHECKING:
    from tests.benchmarks.rivals.contenders import Contender
    from tests.benchmarks.rivals.site import Site

ROUNDS = ("first", "again", "elsewhere", "killed")
#: How often the vendor's book is looked at while waiting to kill.
LOOK_SECONDS = 0.005
#: What may still be asked after a run's end: a trigger of an earlier try.
SETTLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Some items, and the conf of a run that makes them."""

    items: tuple[Item, ...]
    conf: dict[str, Any]


def batch(site: Site, contender: Contender, name: str, folder: str, count: int) -> Batch:
    """
    Return items of a contender.

    :param name: of their content: the same name is the same content.
    :param folder: where they go.
    """
    output = site.home / "results" / contender.key / folder
    output.mkdir(parents=True, exist_ok=True)
    base = f"{site.vendor.url}/media/{contender.key}-{name}"
    items = tuple(Item(f"{base}-{number}.png", output / f"{number}.mp4") for number in range(count))
    lines = [{"id": each.output.stem, "image": each.image, "video": f"{base}.mp4"} for each in items]
    manifest = output / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    conf = {
        "slots": site.settings.slots,
        "manifest": str(manifest),
        "output": str(output),
        "items": [
            {"image_url": each["image"], "video_url": each["video"], "output": str(item.output)}
            for each, item in zip(lines, items, strict=True)
        ],
    }
    return Batch(items, conf)


def warm_up(site: Site, contenders: Iterable[Contender], timeout: float = 300.0) -> None:
    """Make an item of each contender, so that nobody pays for the installation's first imports."""
    api = site.airflow.api
    runs = [(each, api.trigger(each.dag, batch(site, each, "w", "warm", 1).conf)) for each in contenders]
    for each, run in runs:
        ended = api.wait_for_run(each.dag, run, timeout)
        if ended["state"] != "success":
            raise AssertionError(f"{each.key}: {api.states(each.dag, run)}")
    time.sleep(SETTLE_SECONDS)


class Rounds:
    """
    Puts one contender through its rounds.

    :param timeout: seconds after which a run is marked failed.
    """

    def __init__(
        self, site: Site, contender: Contender, *, items: int, few: int, timeout: float = 300.0
    ) -> None:
        self._site, self._who = site, contender
        self._items, self._few, self._timeout = items, few, timeout
        self._run = ""

    def play(self, rounds: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """Play the rounds in their order, after a first run in any case; return the figures of each."""
        self._site.new_book()
        told = {}
        if "first" not in rounds and {"again", "elsewhere"} & set(rounds):
            self._items = self._few
            self._first()
        for name in ROUNDS:
            if name in rounds:
                told[name] = getattr(self, f"_{name}")()
                time.sleep(SETTLE_SECONDS)
        return told

    def _first(self) -> dict[str, Any]:
        site = self._site
        made = batch(site, self._who, "a", "first", self._items)
        self._run = site.airflow.api.trigger(self._who.dag, made.conf)
        ended = self._wait(self._run)
        book = site.vendor.book()
        return {
            **figures(book, slots=site.settings.slots, items=self._items).to_dict(),
            **{name: round(value, 3) for name, value in landing_seconds(book, made.items).items()},
            **money(book, made.items).to_dict(),
            **ended,
        }

    def _again(self) -> dict[str, Any]:
        site = self._site
        before = sum(accepted_of(site.vendor.book()).values())
        site.airflow.api.clear(self._who.dag, self._run)
        site.airflow.api.wait_for_run(self._who.dag, self._run, 60, states=("queued", "running"))
        ended = self._wait(self._run)
        after = sum(accepted_of(site.vendor.book()).values())
        return {"items": self._items, "paid_again": after - before, **ended}

    def _elsewhere(self) -> dict[str, Any]:
        site = self._site
        made = batch(site, self._who, "a", "elsewhere", self._few)
        before = sum(accepted_of(site.vendor.book()).values())
        ended = self._wait(site.airflow.api.trigger(self._who.dag, made.conf))
        book = site.vendor.book()
        after = sum(accepted_of(book).values())
        return {
            "items": self._few,
            "paid_again": after - before,
            "landed": money(book, made.items).landed,
            **ended,
        }

    def _killed(self) -> dict[str, Any]:
        site = self._site
        made = batch(site, self._who, "k", "killed", self._few)
        before = self._accepted()
        wanted = before + self._few * 5 // 8
        run = site.airflow.api.trigger(self._who.dag, made.conf)
        until = time.monotonic() + self._timeout
        seen, workers = -1, list[int]()
        # Right after an accepted submit: for a worker that submits it is the worst moment, and it is all's.
        while (accepted := self._accepted()) < wanted or not (killed := site.kill_busy(workers)):
            if time.monotonic() > until:
                raise AssertionError(f"{self._who.key}: no moment to kill came")
            if accepted != seen:
                seen, workers = accepted, site.workers()
            time.sleep(LOOK_SECONDS)
        ended = self._wait(run)
        told = money(site.vendor.book(), made.items).to_dict()
        rows = rows_of(site.ledger_url, f"/{self._who.key}-k-") if self._who.ours else []
        told["unknown"] = sum(row.state == "unknown" for row in rows)
        return {**told, "workers_killed": killed, "accepted_at_kill": accepted - before, **ended}

    def _accepted(self) -> int:
        return int(self._site.vendor.book(tasks=False)["totals"]["accepted"])

    def _wait(self, run: str) -> dict[str, Any]:
        api = self._site.airflow.api
        try:
            ended = api.wait_for_run(self._who.dag, run, self._timeout)
        except NotSeenError:
            # It must not go on beside the next one; what it has not made is counted as that.
            api.call("PATCH", f"/dags/{self._who.dag}/dagRuns/{quote(run, safe='')}", {"state": "failed"})
            ended = api.wait_for_run(self._who.dag, run, 60)
        began, end = (dt.datetime.fromisoformat(ended[name]) for name in ("start_date", "end_date"))
        tries = [int(each["try_number"]) for each in api.task_instances(self._who.dag, run)]
        return {
            "wall": round((end - began).total_seconds(), 1),
            "state": ended["state"],
            "tries": max(tries),
            "retried": sum(each > 1 for each in tries),
        }
