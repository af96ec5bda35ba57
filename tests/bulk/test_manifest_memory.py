# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A manifest is streamed: what it costs in memory hardly depends on its length."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LINES = 100_000
_PROBE = """
import json, resource, sys
from tests.bulk.manifests import manifest_of
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
manifest = manifest_of(sys.argv[1])
problems = manifest.check()
items = sum(1 for _ in manifest.items())
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps({"problems": problems.total, "items": items, "grown": (after - before) * unit}))
"""


def _probe(path: Path) -> dict[str, int]:
    command = [sys.executable, "-c", _PROBE, str(path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, int] = json.loads(done.stdout)
    return told


def _line(number: int, name: str) -> str:
    return (
        f'{{"id": "{name}", "image": "https://media.example.com/catalog/front-{number:07d}.png", '
        f'"video": "https://media.example.com/templates/{number % 50:03d}.mp4", "sku": "SKU-{number}"}}\n'
    )


@pytest.mark.parametrize("hostile", [False, True], ids=["in order", "each id twice"])
def test_a_hundred_thousand_lines_take_little_memory(hostile: bool, tmp_path: Path):
    path = tmp_path / "m.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(LINES):
            file.write(_line(number, f"clip-{number // 2 if hostile else number:07d}"))
    told = _probe(path)
    assert told["grown"] < (120 if hostile else 40) * 1_000_000
    assert told["problems"] == (LINES // 2 if hostile else 0)
    assert told["items"] == (LINES // 2 if hostile else LINES)
