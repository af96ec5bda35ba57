# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Arguments, checked before anything is paid.

Every error names the field, says that nothing was paid, and quotes no value that may be a secret.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from airflow_provider_jimeng.api.build import encode_body
from airflow_provider_jimeng.api.locations import check_media_url, check_output, is_loopback_host, refuse
from airflow_provider_jimeng.api.parsing import THROUGH_A_FLOAT, readable_task_id
from airflow_provider_jimeng.exceptions import JimengInputError

__all__ = [
    "check_body",
    "check_choice",
    "check_media_url",
    "check_output",
    "check_positive",
    "check_req_key",
    "check_task_id",
    "check_variant",
    "is_loopback_host",
]

_REQ_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_MOST_VARIANT = 2**31 - 1


def check_req_key(value: object, field: str = "req_key") -> str:
    """
    Check the name of a product.

    :param value: the argument as given.
    :param field: its name, for the message.
    """
    if not isinstance(value, str):
        refuse(field, f"the name of a product is needed as text, not {type(value).__name__}")
    if not _REQ_KEY.fullmatch(value):
        refuse(field, "the name of a product is made of letters, digits and _ . : - (at most 128)")
    return value


def check_task_id(value: object, field: str = "task_id") -> str:
    """
    Check a task id that a person or an upstream task gave.

    :param value: text; an exact integer is taken too.
    :param field: its name, for the message.
    :raises JimengInputError: also for a float, since a 19-digit id has lost digits in it and names another
        task.
    """
    if isinstance(value, float) or (isinstance(value, str) and THROUGH_A_FLOAT.fullmatch(value.strip())):
        refuse(
            field, "the id went through a floating-point number and lost digits; keep it as text everywhere"
        )
    task_id = readable_task_id(value)
    if task_id is None or any(char.isspace() for char in task_id):
        refuse(field, "the vendor's task id is needed as text, without white space")
    return task_id


def check_variant(value: object, field: str = "variant") -> int:
    """
    Check a variant: the number that makes the same inputs another wish.

    :param value: an integer, or its digits as text (as a CSV file gives them).
    :param field: its name, for the message.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(field, f"an integer from 0 on is needed, not {type(value).__name__}")
    if not 0 <= value <= _MOST_VARIANT:
        refuse(field, f"an integer from 0 to {_MOST_VARIANT} is needed")
    return value


def check_choice(value: object, field: str, choices: Collection[str]) -> str:
    """
    Check a word out of a few.

    :param value: the argument as given.
    :param field: its name, for the message.
    :param choices: the words.
    """
    if not isinstance(value, str) or value not in choices:
        refuse(field, "one of these is needed: " + ", ".join(repr(choice) for choice in choices))
    return value


def check_positive(value: object, field: str) -> float:
    """
    Check a number above zero.

    :param value: an integer or float; no text, no infinity.
    :param field: its name, for the message.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(field, f"a number above zero is needed, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number <= 0:
        refuse(field, "a finite number above zero is needed")
    return number


def check_body(body: object, field: str = "body") -> dict[str, Any]:
    """
    Check the body of a product that this release has no form for.

    :param body: a mapping of what JSON can hold.
    :param field: its name, for the message.
    :return: a copy in plain JSON types, which a later change of the argument doesn't reach.
    """
    if not isinstance(body, Mapping):
        refuse(field, f"a mapping is needed, not {type(body).__name__}")
    if not body:
        refuse(field, "it is empty")
    try:
        if not all(isinstance(key, str) for key in _keys(body)):
            refuse(field, "every key must be text")
        copy: dict[str, Any] = json.loads(encode_body({**body}))
    except JimengInputError as error:
        if error.message.startswith(f"{field}: "):
            raise
        refuse(field, "it holds what JSON cannot (NaN, bytes, an object, itself)")
    except RecursionError:
        refuse(field, "it is nested too deeply, or holds itself")
    return copy


def _keys(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _keys(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _keys(inner)
