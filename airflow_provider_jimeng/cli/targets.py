# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Which rows a person means by a number, a content key, or the beginning of one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_jimeng.cli.session import Refusal

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.admin import LedgerAdmin
    from airflow_provider_jimeng.ledger.records import TaskRecord

__all__ = ["content_key", "latest", "row_by_number"]

_PREFIX = re.compile(r"[0-9a-f]{8,63}")
#: No ledger numbers its rows this high; ids of the vendor have 19 digits.
_MOST_DIGITS = 15


def row_by_number(admin: LedgerAdmin, text: str) -> TaskRecord | None:
    """Return the row that a text is the number of."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return None
    return admin.get(int(text))


def content_key(admin: LedgerAdmin, text: str) -> str | None:
    """
    Return the content key that a text is, or is the unique beginning of.

    :raises Refusal: several keys begin so.
    """
    if admin.latest(text) is not None:
        return text
    if _PREFIX.fullmatch(text.lower()) is None:
        return None
    keys = admin.keys_with_prefix(text.lower(), 3)
    if len(keys) > 1:
        raise Refusal(f"Several content keys begin with {text}: {', '.join(keys)} ... Nothing was changed.")
    return keys[0] if keys else None


def latest(admin: LedgerAdmin, text: str) -> TaskRecord:
    """
    Return the row of a number, or what stands for a content now.

    :raises Refusal: there is none.
    """
    row = row_by_number(admin, text)
    if row is not None:
        return row
    key = content_key(admin, text)
    found = None if key is None else admin.latest(key)
    if found is None:
        raise Refusal(
            f"The ledger at {admin.place} has no row of this number or content key: {text}. Nothing was "
            "changed."
        )
    return found
