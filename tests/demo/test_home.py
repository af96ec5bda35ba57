# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The demo's folder keeps what a second run needs, and nothing else's folder is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo.home import Home
from demo.terminal import DemoError


def test_a_second_run_meets_the_same_vendor(tmp_path: Path) -> None:
    with Home(tmp_path / "demo").opened(fresh=False) as first:
        port = first.vendor_port
        first.vendor_state.write_text("{}")

    with Home(tmp_path / "demo").opened(fresh=False) as second:
        assert second.vendor_port == port
        assert second.known


def test_fresh_forgets_everything_that_was_kept(tmp_path: Path) -> None:
    with Home(tmp_path / "demo").opened(fresh=False) as first:
        first.note(migrated="1.2.3")
        first.vendor_state.write_text("{}")
        (first.results / "mapped").mkdir()

    with Home(tmp_path / "demo").opened(fresh=True) as second:
        assert not second.known
        assert second.fact("migrated") is None
        assert list(second.results.iterdir()) == []


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(DemoError, match="nothing was touched"), Home(tmp_path).opened(fresh=fresh):
        pass

    assert [each.name for each in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_demos_in_one_folder_are_refused(tmp_path: Path) -> None:
    with (
        Home(tmp_path / "demo").opened(fresh=False),
        pytest.raises(DemoError, match="another demo runs"),
        Home(tmp_path / "demo").opened(fresh=True),
    ):
        pass


def test_a_folder_of_another_version_is_refused_with_the_remedy(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    root.mkdir()
    (root / "demo.json").write_text(json.dumps({"format": 0}))

    with pytest.raises(DemoError, match="--fresh"), Home(root).opened(fresh=False):
        pass

    with Home(root).opened(fresh=True) as home:
        assert home.fact("format") == 2
