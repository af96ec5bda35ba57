# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The codes in the page of questions are in the vendor's words; the drawing is the one of its code."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from airflow_provider_jimeng.api.codes import RULES
from airflow_provider_jimeng.api.media_limits import limits_of
from airflow_provider_jimeng.api.models import MOTION_IMITATION_2
from airflow_provider_jimeng.api.products import OPTIONS

from tests.docs.drawing import PICTURE, drawing
from tests.docs.pages import page, rows, section


def test_the_codes_that_people_meet_are_in_the_vendors_words() -> None:
    shown = rows(section(page("docs/faq.md"), "## Trouble"))

    assert len(shown) >= 8
    for code, words, _ in shown:
        assert RULES[int(code)].name == words


def test_a_code_that_is_said_to_allow_a_new_attempt_does() -> None:
    for code, _, meaning in rows(section(page("docs/faq.md"), "## Trouble")):
        if "new attempt" in meaning:
            assert RULES[int(code)].new_attempt, code


def test_the_page_of_products_names_every_option_and_limit() -> None:
    text = page("docs/products.md")
    limits = limits_of(MOTION_IMITATION_2)

    for name in OPTIONS[MOTION_IMITATION_2]:
        assert f"`{name}`" in text
    assert limits.image.least_side is not None
    assert limits.video.most_sides is not None
    assert f"at least {limits.image.least_side} x {limits.image.least_side}" in text
    assert f"{limits.video.most_sides[0]} x {limits.video.most_sides[1]}" in text
    assert f"at most {limits.video.most_seconds:g} s" in text


def test_the_drawing_is_that_of_its_code_and_is_well_formed() -> None:
    assert PICTURE.read_text(encoding="utf-8") == drawing(), "run: python -m tests.docs.drawing"
    root = ElementTree.fromstring(drawing())  # noqa: S314 - our own text
    assert root.get("role") == "img"
    assert "prefers-color-scheme: dark" in drawing()
