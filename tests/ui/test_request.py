# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

import pytest

from airflow_provider_jimeng.ui.request import MOST_INSTANCES, Asked, WrongQuestion


def test_task_instances_are_named_one_by_one_or_as_a_range():
    asked = Asked.of("dag", "run", ["manifest", "imitate:0-2", "land:7"])

    assert asked.instances == (
        ("manifest", -1),
        ("imitate", 0),
        ("imitate", 1),
        ("imitate", 2),
        ("land", 7),
    )
    assert asked.scopes[1] == "dag/run/imitate/0"


@pytest.mark.parametrize("text", ["", "a b", "a/b", "a:b", "a:1-", "a:-5-", "x" * 251, "a:1:2", "a\n"])
def test_what_has_no_such_form_is_refused(text: str):
    with pytest.raises(WrongQuestion):
        Asked.of("dag", "run", [text])


def test_a_question_has_an_end():
    assert len(Asked.of("dag", "run", [f"a:1-{MOST_INSTANCES}"]).instances) == MOST_INSTANCES
    with pytest.raises(WrongQuestion, match="more than"):
        Asked.of("dag", "run", [f"a:0-{MOST_INSTANCES}"])
    with pytest.raises(WrongQuestion, match="more than"):
        Asked.of("dag", "run", ["a:0-9999999"])
