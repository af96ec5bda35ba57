# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What comes before a task that was given up is paid for again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import JimengOutputExistsError

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.content import Content
    from airflow_provider_jimeng.bulk.tools import Tools
    from airflow_provider_jimeng.lifecycle.wanted import Wanted
    from airflow_provider_jimeng.media.target import Target


def look_before_paying_again(tools: Tools, content: Content) -> Wanted:
    """
    Look at the places and the inputs of a content that was given up, as at those of a new one.

    :raises JimengOutputExistsError: files that no landing tells of are in all of its places.
    """
    places = [tools.folder.output(item.id) for item in tuple(content.items)]
    if places and not tools.lander.overwrite and not any(_is_free(tools, each) for each in places):
        raise JimengOutputExistsError(
            "output: a task of this content was given up, and may be billed; and a file that this provider "
            f"did not write, or could not take note of, stands at {places[0].uri}. It was not paid for "
            "again: look at the file, it may be that task's result. Without it, or with overwrite=True, a "
            "run pays once more",
            content_key=content.key,
            task_id=None if content.lost is None else content.lost.task_id,
        )
    return tools.inspect(content.wanted)[0]


def _is_free(tools: Tools, place: Target) -> bool:
    return place.stat() is None or tools.ledger.landing_at(place.uri) is not None
