# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The example DAGs: they load without a connection, and name the media that the emulator makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow.dag_processing.dagbag import DagBag

DAGS = Path(__file__).parents[2] / "dags"


def load(dag_id: str) -> Any:
    bag = DagBag(DAGS / f"{dag_id}.py", bundle_path=DAGS)
    assert bag.import_errors == {}
    return bag.dags[dag_id]


@pytest.fixture
def at_home(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIMENG_EXAMPLE_MEDIA", "http://127.0.0.1:8090/media")
    monkeypatch.setenv("JIMENG_EXAMPLE_OUTPUT", "/data/out")


@pytest.mark.usefixtures("at_home")
def test_the_building_blocks_follow_each_other_and_take_sample_media(media: Path) -> None:
    dag = load("example_jimeng_motion_imitation")

    assert {task_id: dag.get_task(task_id).downstream_task_ids for task_id in dag.task_ids} == {
        "submit": {"wait"},
        "wait": {"land"},
        "land": set(),
    }
    params = dag.params.dump()
    assert params["output"] == "/data/out/single/character-01-amber.mp4"
    for url in (params["image_url"], params["video_url"]):
        assert (media / url.removeprefix("http://127.0.0.1:8090/media/")).is_file()


@pytest.mark.usefixtures("at_home")
def test_the_mapped_dag_pairs_images_with_templates_in_turn(media: Path) -> None:
    dag = load("example_jimeng_mapped")
    params = dag.params.dump()
    items: Any = dag.get_task("items")

    pairs = items.python_callable(params=params)

    assert len(pairs) == 12
    assert len({pair["output"] for pair in pairs}) == 12
    assert pairs[0]["output"] == "/data/out/mapped/character-01-amber.mp4"
    assert [pair["video_url"].rpartition("-")[2] for pair in pairs[:4]] == [
        "wave.mp4",
        "jump.mp4",
        "walk.mp4",
        "wave.mp4",
    ]
    for pair in pairs:
        for field in ("image_url", "video_url"):
            assert (media / pair[field].rpartition("/")[2]).is_file()


@pytest.mark.usefixtures("at_home")
def test_both_dags_share_one_pair_which_is_paid_once() -> None:
    single = load("example_jimeng_motion_imitation").params.dump()
    mapped = load("example_jimeng_mapped").params.dump()

    assert (single["image_url"], single["video_url"]) == (mapped["images"][0], mapped["videos"][0])


def test_a_query_string_does_not_get_into_a_result_name() -> None:
    dag = load("example_jimeng_mapped")
    items: Any = dag.get_task("items")
    params = {
        "images": ["https://cdn.example/a/cat.v2.png?X-Amz-Signature=abc/def.gh", "https://cdn.example/dog"],
        "videos": ["https://cdn.example/dance.mp4"],
        "output": "s3://bucket/out",
    }

    outputs = [pair["output"] for pair in items.python_callable(params=params)]

    assert outputs == ["s3://bucket/out/cat.v2.mp4", "s3://bucket/out/dog.mp4"]
