# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The page itself: one HTML text with its own style and script, named by their hashes in its security policy.

What a DAG, a run or the vendor is called goes into it as data, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DATA_POLICY", "page", "policy"]

#: What would end a script element, begin markup, or end a line for older readers of JavaScript.
_ESCAPES = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})
#: For answers that are no page: whatever a browser takes them for, nothing in them runs.
DATA_POLICY = "default-src 'none'; frame-ancestors 'self'; sandbox"


def page(about: Mapping[str, Any]) -> str:
    """
    Return the page.

    :param about: what it is about, as JSON values.
    """
    data = json.dumps(about, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)
    title = html.escape(f"Jimeng · {about.get('dag_id', '')}")
    parts = {"TITLE": title, "STYLE": _asset("view.css"), "SCRIPT": _script(), "ABOUT": data}
    pieces = _asset("view.html").split("{{")
    done = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        # What is filled in is not looked at again.
        done += [parts[name], rest]
    return "".join(done)


@cache
def policy() -> str:
    """Return the page's content security policy: its own script and style, this server, and nothing else."""
    return (
        f"default-src 'none'; script-src {_hash(_script())}; style-src {_hash(_asset('view.css'))}; "
        "connect-src 'self'; img-src 'self'; media-src 'self'; frame-ancestors 'self'; base-uri 'none'; "
        "form-action 'none'"
    )


@cache
def _script() -> str:
    return _asset("view.js") + _asset("act.js")


@cache
def _asset(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
