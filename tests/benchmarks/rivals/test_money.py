# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.benchmarks.rivals.money import Item, landing_seconds, money


def book(**accepted: int) -> dict[str, Any]:
    return {
        "contents": {
            f"key-{image}": {"content": {"image_url": image}, "accepted": count}
            for image, count in accepted.items()
        }
    }


def items(folder: Path, *there: str, missing: str = "") -> list[Item]:
    for name in there:
        (folder / name).touch()
    return [Item(name, folder / name) for name in (*there, *missing)]


def test_what_was_paid_again_lost_and_never_paid_is_told_apart(tmp_path: Path) -> None:
    told = money(book(a=1, b=3, c=1, other=7), items(tmp_path, "a", "b", missing="cd"))

    assert told.to_dict() == {
        "items": 4,
        "accepted": 5,
        "paid_again": 2,
        "paid_again_items": 1,
        "landed": 2,
        "lost": 1,
        "never_paid": 1,
    }


def test_a_file_is_timed_from_the_task_that_made_it(tmp_path: Path) -> None:
    (item,) = items(tmp_path, "a")
    os.utime(item.output, (107.0, 107.0))
    ends = {"1": 90.0, "2": 105.0, "3": 120.0, "4": None}
    tasks = {each: {"done_at": end, "content": {"image_url": "a"}} for each, end in ends.items()}

    assert landing_seconds({"tasks": tasks}, [item]) == {"landed_median": 2.0, "landed_p95": 2.0}
