# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The hook in `@task` functions: submits that are retried and pay once, and one coroutine that waits for all.

An asynchronous `@task` needs Airflow 3.2; before that, and for waits of hours, take `JimengTaskSensor`, which
holds no worker. Landing is the operator's: it knows from the ledger whether the file is there already.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.operators.jimeng import JimengLandResultOperator

MEDIA = os.environ.get("JIMENG_EXAMPLE_MEDIA", "https://example.com/media")
OUTPUT = os.environ.get("JIMENG_EXAMPLE_OUTPUT", "/tmp/jimeng")
REQ_KEY = "jimeng_dream_actor_m1_gen_video_cv"
SECONDS_BETWEEN_QUESTIONS = float(os.environ.get("JIMENG_EXAMPLE_POLL", "15"))

with DAG(
    dag_id="example_jimeng_taskflow",
    schedule=None,
    tags=["example", "jimeng"],
    doc_md=__doc__,
    params={
        "images": Param(
            [f"{MEDIA}/character-07-rose.png", f"{MEDIA}/character-08-teal.png"],
            type="array",
            items={"type": "string"},
            title="Images",
        ),
        "video": Param(f"{MEDIA}/template-02-jump.mp4", type="string", title="Template video"),
        "output": Param(f"{OUTPUT}/taskflow", type="string", title="Folder for the results"),
    },
):

    @task
    def images(params: dict[str, Any] | None = None) -> list[str]:
        """Say for which images; a task is mapped over them."""
        return list((params or {})["images"])

    # [START howto_jimeng_taskflow]
    @task(retries=3, map_index_template="{{ image_name }}")
    def submit(image: str, params: dict[str, Any] | None = None) -> dict[str, str]:
        """Submit, or find the task that an earlier try, run or DAG paid for."""
        get_current_context()["image_name"] = image.rpartition("/")[2]  # type: ignore[typeddict-unknown-key]
        task_id = JimengHook().submit_motion_imitation(image, (params or {})["video"])
        return {"task_id": task_id, "req_key": REQ_KEY}

    @task(retries=3)
    async def wait(references: list[dict[str, str]]) -> list[dict[str, str]]:
        """Ask about all of them at once, until the vendor has decided about each; questions are free."""
        hook = JimengHook()

        async def over(reference: dict[str, str]) -> str:
            while True:
                found = await hook.aget_result(**reference)
                if found["status"] != "running":
                    return str(found["status"])
                await asyncio.sleep(SECONDS_BETWEEN_QUESTIONS)

        states = await asyncio.gather(*map(over, references))
        print(f"{states.count('done')} of {len(states)} are done.")
        return [each for each, state in zip(references, states, strict=True) if state == "done"]

    # [END howto_jimeng_taskflow]

    @task
    def landings(done: list[dict[str, str]], params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Name a file for each result."""
        folder = (params or {})["output"]
        return [{"task": each, "output": f"{folder}/{each['task_id']}.mp4"} for each in done]

    references = submit.expand(image=images())
    JimengLandResultOperator.partial(
        task_id="land", map_index_template="{{ task.output_uri.rpartition('/')[2] }}"
    ).expand_kwargs(landings(wait(references)))  # type: ignore[arg-type]
