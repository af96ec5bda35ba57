# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What data says is never rendered, and what is rendered is masked before Airflow stores it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow_provider_jimeng.operators.jimeng import (
    JimengBatchOperator,
    JimengLandResultOperator,
    JimengMotionImitationOperator,
    JimengSubmitTaskOperator,
)
from airflow_provider_jimeng.sensors.jimeng import JimengTaskSensor

from tests.legs import Bench, DagRun, Output

TEMPLATE = "{{ conn.volcengine_default.password }}"
SIGNED = "?X-Amz-Credential=AKIAwho&X-Amz-Signature=51gnedbys3"


def render_mapped(operator: Any, upstream: Any) -> Any:
    """Render a mapped operator as Airflow's task runner does, and return the operator it made."""
    ti = SimpleNamespace(
        map_index=0,
        xcom_pull=lambda **_: upstream,
        get_relevant_upstream_map_indexes=lambda **_: None,
        _upstream_map_indexes={},
    )
    context: Any = {
        "ti": ti,
        "task": operator,
        "dag": operator.dag,
        "dag_run": SimpleNamespace(conf={}),
        "run_id": "run",
        "expanded_ti_count": 1,
    }
    operator.render_template_fields(context)
    return context["task"]


def mapped(kind: Any, upstream: Any, **arguments: Any) -> Any:
    with DAG(dag_id="dag", schedule=None):
        told = EmptyOperator(task_id="upstream").output
        return render_mapped(kind.partial(task_id="mapped", **arguments).expand_kwargs(told), upstream)


@pytest.fixture
def masked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr("airflow_provider_jimeng.hooks.defaults.mask_secret", found.append)
    return found


def test_a_manifest_file_is_data(bench: Bench) -> None:
    manifest = bench.folder / "m.jsonl"
    line = {
        "id": "{{ 7+7 }}",
        "image": f"{bench.image}?{{{{var.value.key}}}}",
        "video": bench.video,
        "note": TEMPLATE,
    }
    manifest.write_text(json.dumps(line) + "\n")
    out = bench.folder / "out"
    DagRun().task(JimengBatchOperator, "batch", manifest=str(manifest), output=str(out), poke_interval=0.1)
    told = json.loads((out / "report.jsonl").read_text())
    assert (told["id"], told["note"], told["outcome"]) == ("{{ 7+7 }}", TEMPLATE, "landed")
    assert (out / "{{ 7+7 }}.mp4").exists()
    assert "{{var.value.key}}" in bench.rows()[0].inputs


def test_an_xcom_is_data(bench: Bench) -> None:
    run = DagRun()
    run.xcom[("upstream", "return_value")] = json.dumps(
        [{"id": "a", "image": bench.image, "video": bench.video, "note": TEMPLATE}]
    )
    out = bench.folder / "out"
    run.task(JimengBatchOperator, "batch", manifest=Output("upstream"), output=str(out), poke_interval=0.1)
    assert json.loads((out / "report.jsonl").read_text())["note"] == TEMPLATE


@pytest.mark.parametrize(
    ("kind", "given", "fixed"),
    [
        (
            JimengMotionImitationOperator,
            {"image_url": TEMPLATE, "video_url": TEMPLATE, "output": TEMPLATE},
            {},
        ),
        (JimengSubmitTaskOperator, {"body": {"prompt": TEMPLATE, "deep": [TEMPLATE]}}, {"req_key": "other"}),
        (JimengLandResultOperator, {"task": {"task_id": TEMPLATE}, "output": TEMPLATE}, {}),
        (JimengTaskSensor, {"task": {"task_id": TEMPLATE}}, {}),
        (JimengBatchOperator, {"manifest": [{"id": TEMPLATE}], "output": TEMPLATE}, {}),
    ],
)
def test_what_a_mapped_task_is_given_by_another_is_data(kind: Any, given: Any, fixed: Any) -> None:
    operator = mapped(kind, [given], **fixed)
    fields = {("output_uri" if name == "output" else name): value for name, value in given.items()}
    assert {name: getattr(operator, name) for name in fields} == fields


def test_what_is_expanded_by_field_is_data() -> None:
    with DAG(dag_id="dag", schedule=None):
        told = EmptyOperator(task_id="upstream").output
        operator = JimengMotionImitationOperator.partial(task_id="mapped", output="/r.mp4", video_url="v")
        assert render_mapped(operator.expand(image_url=told), [TEMPLATE]).image_url == TEMPLATE


def test_a_template_of_the_dags_author_is_rendered_beside_it() -> None:
    with DAG(dag_id="dag", schedule=None, default_args={"force_new": "again in {{ run_id }}"}):
        told = EmptyOperator(task_id="upstream").output
        operator = JimengMotionImitationOperator.partial(
            task_id="mapped",
            output="/results/{{ run_id }}.mp4",
        ).expand_kwargs(told)
    made = render_mapped(operator, [{"image_url": TEMPLATE, "video_url": TEMPLATE}])
    assert (made.image_url, made.output_uri) == (TEMPLATE, "/results/run.mp4")
    assert made.force_new == "again in run"


def test_a_literal_list_is_the_authors_too() -> None:
    with DAG(dag_id="dag", schedule=None):
        operator = JimengMotionImitationOperator.partial(task_id="mapped", video_url="v").expand_kwargs(
            [{"image_url": "https://a/{{ run_id }}.png", "output": "/r.mp4"}]
        )
        assert render_mapped(operator, None).image_url == "https://a/run.png"


@pytest.mark.parametrize(
    ("kind", "given", "fixed"),
    [
        (JimengMotionImitationOperator, {"image_url": f"https://a/i.png{SIGNED}"}, {"output": "/r.mp4"}),
        (JimengSubmitTaskOperator, {"body": {"images": [f"https://a/i.png{SIGNED}"]}}, {"req_key": "other"}),
        (JimengLandResultOperator, {"task": {"video_url": f"https://a/i.png{SIGNED}"}}, {"output": "/r.mp4"}),
        (JimengTaskSensor, {"task": {"video_url": f"https://a/i.png{SIGNED}"}}, {}),
        (JimengBatchOperator, {"manifest": [{"image": f"https://a/i.png{SIGNED}"}]}, {"output": "/r"}),
    ],
)
def test_queries_of_a_mapped_task_are_masked_too(
    kind: Any, given: Any, fixed: Any, masked: list[str]
) -> None:
    mapped(kind, [given], **fixed)
    assert SIGNED[1:] in masked


def test_queries_are_masked_where_a_template_can_not_be_rendered(masked: list[str]) -> None:
    with DAG(dag_id="dag", schedule=None):
        operator = JimengMotionImitationOperator(
            task_id="imitate",
            image_url=f"https://a/i.png{SIGNED}",
            video_url="{{ nothing.at.all }}",
            output="/r.mp4",
        )
    with pytest.raises(Exception, match="nothing"):
        operator.render_template_fields({})
    assert SIGNED[1:] in masked
