# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Ids of items: they name files, on disks and in buckets that other systems read later."""

from __future__ import annotations

import unicodedata
from typing import Any

#: A file name holds 255 bytes; a temporary one adds ``.``, the suffix ``.mp4``, 33 characters and ``.part``.
MAX_ID_BYTES = 200
#: No path, no drive, no glob, no query or fragment of a URL that names the file.
_UNFIT = frozenset('/\\:*?"<>|#')
#: Controls, invisible formatting (zero width, writing direction), private use, surrogates, line separators.
_UNFIT_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_DEVICES = frozenset({"con", "prn", "aux", "nul"}) | {f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10)}


def read_id(value: Any) -> str:
    """
    Return an id as text.

    :param value: text, or an exact integer as JSON and Parquet have them.
    :raises ValueError: telling what is wrong with it, quoting nothing of it.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        lost = "; digits are lost in a floating-point number, so write it as text" * isinstance(value, float)
        raise ValueError(f"text or an integer is needed, not {type(value).__name__}{lost}")
    text = value if isinstance(value, str) else _digits(value)
    flaw = _flaw_of(text)
    if flaw is not None:
        raise ValueError(f"{flaw}; an id names the output file, so it must be a safe file name")
    return text


def fold_id(text: str) -> str:
    """Return what two ids share if a file system may take them for the same name."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _digits(value: int) -> str:
    if abs(value) >= 10**MAX_ID_BYTES:
        raise ValueError(f"an integer of more than {MAX_ID_BYTES} digits")
    return str(value)


def _flaw_of(text: str) -> str | None:
    if not text:
        return "it is empty"
    if len(text) > MAX_ID_BYTES or len(text.encode("utf-8", errors="replace")) > MAX_ID_BYTES:
        return f"it is longer than {MAX_ID_BYTES} bytes"
    found = sorted(_UNFIT.intersection(text))
    if found:
        return f"it holds {' '.join(found)}"
    if text.startswith("."):
        return "it begins with a dot"
    if text != text.strip() or text.endswith("."):
        return "it begins or ends with white space, or ends with a dot"
    if not (text.isascii() and text.isprintable()):
        unfit = next((char for char in text if unicodedata.category(char) in _UNFIT_CATEGORIES), None)
        if unfit is not None:
            return f"it holds a control or invisible character (U+{ord(unfit):04X})"
    if text.partition(".")[0].lower() in _DEVICES:
        return "some systems keep this name for a device"
    return None
