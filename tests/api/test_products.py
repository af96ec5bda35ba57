# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The switches of products, and what they give back."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_jimeng.api.models import MOTION_IMITATION, MOTION_IMITATION_2
from airflow_provider_jimeng.api.products import check_options, check_product_options, takes_image_and_video
from airflow_provider_jimeng.exceptions import JimengInputError

CUT = "cut_result_first_second_switch"


def test_the_two_products_take_an_image_and_a_video_and_no_other_does() -> None:
    assert takes_image_and_video(MOTION_IMITATION)
    assert takes_image_and_video(MOTION_IMITATION_2)
    assert not takes_image_and_video("jimeng_t2i_v40")


@pytest.mark.parametrize(
    ("given", "checked"),
    [
        (None, {}),
        ({}, {}),
        ({CUT: False}, {CUT: False}),
        ({CUT: " True "}, {CUT: True}),
        ({CUT: "false"}, {CUT: False}),
    ],
)
def test_a_switch_is_true_or_false_or_what_a_template_makes_of_it(
    given: Any, checked: dict[str, bool]
) -> None:
    assert check_options(given, MOTION_IMITATION_2) == checked


@pytest.mark.parametrize(
    ("given", "req_key", "words"),
    [
        ([CUT], MOTION_IMITATION_2, "^options: a mapping is needed, not list"),
        ({CUT: 1}, MOTION_IMITATION_2, f"^options, {CUT}: true or false is needed"),
        ({CUT: "no"}, MOTION_IMITATION_2, f"^options, {CUT}: true or false is needed"),
        ({"cut": True}, MOTION_IMITATION_2, f"has no option 'cut'; it has {CUT}"),
        ({7: True}, MOTION_IMITATION_2, "has no option int; it has"),
        ({CUT: True}, MOTION_IMITATION, "it has none. What else it takes goes into `body`"),
        ({CUT: True}, "jimeng_t2i_v40", "it has none"),
    ],
)
def test_anything_else_is_an_error_that_says_nothing_was_paid(given: Any, req_key: str, words: str) -> None:
    with pytest.raises(JimengInputError, match=words) as caught:
        check_options(given, req_key)
    assert "othing was" in str(caught.value)


def test_a_manifest_of_several_products_has_switches_per_product() -> None:
    assert check_product_options(None) == {}
    given = {MOTION_IMITATION_2: {CUT: "False"}, MOTION_IMITATION: {}}
    assert check_product_options(given) == {MOTION_IMITATION_2: {CUT: False}, MOTION_IMITATION: {}}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("cut", "a mapping of products is needed, not str"),
        ({CUT: False}, f"'{CUT}' is none of the products that have options: {MOTION_IMITATION}, "),
        ({1: {}}, "int is none of the products"),
        ({MOTION_IMITATION_2: False}, "a mapping is needed, not bool"),
    ],
)
def test_switches_that_name_no_product_are_an_error(given: Any, words: str) -> None:
    with pytest.raises(JimengInputError, match=f"^--options: {words}"):
        check_product_options(given, "--options")
