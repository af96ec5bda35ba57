# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What is particular about a product: its options, and what it gives back.

Two products take an image and a template video and give one video: they have arguments of their own. Every
other product goes through with a body of its own, and may give pictures, several of them for one task.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_jimeng.api.locations import refuse
from airflow_provider_jimeng.api.models import MOTION_IMITATION, MOTION_IMITATION_2

__all__ = ["OPTIONS", "asks_for_links", "check_options", "check_product_options", "takes_image_and_video"]

#: Switches of the products with arguments of their own, all of them true or false. Vendor facts, section 4.
OPTIONS: Mapping[str, frozenset[str]] = {
    MOTION_IMITATION: frozenset(),
    MOTION_IMITATION_2: frozenset({"cut_result_first_second_switch"}),
}

#: Names of products that give a video, which comes as a link anyway.
_VIDEO = re.compile(r"video|actor|avatar|(^|_)(i|t|ti|r)2v(_|$)", re.IGNORECASE)
#: What a template makes of a switch.
_WORDS = {"true": True, "false": False}


def takes_image_and_video(req_key: str) -> bool:
    """Return whether a product takes one image and one template video, and gives one video."""
    return req_key in OPTIONS


def asks_for_links(req_key: str) -> bool:
    """
    Return whether a query has to say that it wants links.

    Products that make pictures otherwise answer with the pictures themselves, as text: megabytes in each
    answer, which no client should be made to read. A product whose name tells of a video is not asked, since
    its documents know no such word.
    """
    return _VIDEO.search(req_key) is None


def check_options(options: object, req_key: str, field: str = "options") -> dict[str, bool]:
    """
    Check the switches of a product.

    What is said here is sent, and is part of the content: left out is another content than the vendor's
    default said in words, since the default is the vendor's to change.

    :param options: a mapping, or ``None``; a switch may be the text that a template makes of it.
    :param req_key: the product.
    :param field: the argument's name, for the message.
    :raises JimengInputError: naming the switch; nothing was paid.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        refuse(field, f"a mapping is needed, not {type(options).__name__}")
    known = OPTIONS.get(req_key, frozenset())
    checked: dict[str, bool] = {}
    for name, given in options.items():
        if name not in known:
            listed = f"; it has {', '.join(sorted(known))}" if known else "; it has none"
            shown = repr(name[:60]) if isinstance(name, str) else type(name).__name__
            refuse(field, f"this product has no option {shown}{listed}. What else it takes goes into `body`")
        checked[name] = _switch(given, f"{field}, {name}")
    return checked


def check_product_options(options: object, field: str = "options") -> dict[str, dict[str, bool]]:
    """
    Check switches that are given per product, for lines of a manifest that may be of several.

    :param options: a mapping of products to what :func:`check_options` takes, or ``None``.
    :param field: the argument's name, for the message.
    :raises JimengInputError: naming the product or the switch; nothing was paid.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        refuse(field, f"a mapping of products is needed, not {type(options).__name__}")
    for req_key in options:
        if req_key not in OPTIONS:
            shown = repr(req_key[:60]) if isinstance(req_key, str) else type(req_key).__name__
            refuse(field, f"{shown} is none of the products that have options: {', '.join(OPTIONS)}")
    return {str(req_key): check_options(each, req_key, field) for req_key, each in options.items()}


def _switch(value: Any, field: str) -> bool:
    read = _WORDS.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(read, bool):
        refuse(field, "true or false is needed")
    return read
