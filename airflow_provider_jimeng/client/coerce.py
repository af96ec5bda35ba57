# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Read a connection's fields as what they mean, or say which field can't be read.

A form gives strings, a URI gives strings, JSON gives anything: ``"false"`` must not be true because it is a
non-empty string, and ``NaN`` must not become a timeout that never passes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, NoReturn
from urllib.parse import urlsplit

from airflow_provider_jimeng.exceptions import JimengConfigurationError

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRUE = frozenset({"true", "1", "yes", "y", "on", "t"})
_FALSE = frozenset({"false", "0", "no", "n", "off", "f"})
_SHOWN = 60


def refuse(conn_id: str, name: str, problem: str) -> NoReturn:
    """Raise the error of a field that can't be read: which connection, which field, what is wrong with it."""
    raise JimengConfigurationError(
        f"Connection {conn_id!r}: field `{name}` {problem}. Nothing was sent or paid; correct the connection."
    )


def shown(value: object) -> str:
    """Quote a field's value for a message; only for fields that hold no secret."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


class Fields:
    """
    The extras of one connection, read by name.

    Absent, ``null`` and the empty string of a form that was left alone are the same: the default applies.

    :param conn_id: for the messages.
    :param values: the extras as they came.
    """

    def __init__(self, conn_id: str, values: Mapping[str, Any]) -> None:
        self._conn_id = conn_id
        self._values = values

    def raw(self, name: str) -> Any:
        """Return a field as it came, ``None`` where it was left empty."""
        value = self._values.get(name)
        if isinstance(value, str):
            value = value.strip()
        return None if value == "" else value

    def refuse(self, name: str, problem: str) -> NoReturn:
        """Raise for a field of this connection."""
        refuse(self._conn_id, name, problem)

    def text(self, name: str, *, default: str | None, pattern: re.Pattern[str], meaning: str) -> str | None:
        """Read a word that matches ``pattern``; ``meaning`` says in the message what was expected."""
        value = self.raw(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.refuse(name, f"must be {meaning}, not {type(value).__name__}")
        if not pattern.fullmatch(str(value)):
            self.refuse(name, f"must be {meaning}")
        return str(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """Read a boolean, also from the words and digits that forms and URIs write for one."""
        value = self.raw(name)
        if value is None:
            return default
        found = as_bool(value)
        if found is None:
            self.refuse(name, f"must be true or false, not {shown(value)}")
        return found

    def number(self, name: str, *, default: float | None, low: float, high: float) -> float | None:
        """Read a finite number with ``low`` <= number <= ``high``."""
        value = self.raw(name)
        if value is None:
            return default
        found = as_number(value)
        if found is None or not low <= found <= high:
            self.refuse(name, f"must be a number from {low:g} to {high:g}, not {shown(value)}")
        return found

    def seconds(self, name: str, *, default: float) -> float:
        """Read a duration of 10 ms to one hour."""
        found = self.number(name, default=default, low=0.01, high=3600)
        return default if found is None else found

    def rate(self, name: str, *, default: float) -> float:
        """Read a number of calls a second."""
        found = self.number(name, default=default, low=0.001, high=10_000)
        return default if found is None else found

    def integer(self, name: str, *, low: int, high: int) -> int | None:
        """Read a whole number; ``2.0`` and ``"2"`` are 2, ``2.5`` and ``true`` are errors."""
        value = self.raw(name)
        if value is None:
            return None
        return self._whole(name, value, low, high)

    def _whole(self, name: str, value: object, low: int, high: int) -> int:
        found = as_integer(value)
        if found is None or not low <= found <= high:
            self.refuse(name, f"must be a whole number from {low} to {high}, not {shown(value)}")
        return found

    def limits(self, name: str) -> int | dict[str, int] | None:
        """Read slots: one number for every req_key, or an object ``{req_key: number}``, also as text."""
        value = self.raw(name)
        if isinstance(value, str) and value.startswith("{"):
            value = self._json(name, value)
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str) or not key.strip():
                    self.refuse(name, "has an empty req_key")
            return {
                key.strip(): self._whole(f"{name}[{key.strip()}]", item, 1, 100_000)
                for key, item in value.items()
            } or None
        return None if value is None else self._whole(name, value, 1, 100_000)

    def networks(self, name: str) -> tuple[IPv4Network | IPv6Network, ...]:
        """Read CIDRs from a list, a JSON list as text, or words separated by commas."""
        value = self.raw(name)
        if isinstance(value, str):
            value = self._json(name, value) if value.startswith("[") else value.replace(",", " ").split()
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            self.refuse(name, f"must be a list of networks such as 10.0.0.0/8, not {type(value).__name__}")
        return tuple(self._network(name, item) for item in value)

    def _network(self, name: str, item: object) -> IPv4Network | IPv6Network:
        try:
            # An int or bytes would be read as a packed address: only text says what was meant.
            return ip_network(item.strip() if isinstance(item, str) else "not text")
        except ValueError:
            self.refuse(name, f"has {shown(item)}, which is not a network such as 10.0.0.0/8")

    def verify(self, name: str) -> bool | str:
        """Read TLS verification: a boolean, or the path of a CA bundle."""
        value = self.raw(name)
        if value is None:
            return True
        found = as_bool(value)
        if found is not None:
            return found
        if not isinstance(value, str) or any(ord(char) < 32 for char in value):
            self.refuse(name, f"must be true, false or the path of a CA bundle, not {shown(value)}")
        return value

    def proxies(self, name: str) -> dict[str, str]:
        """
        Read proxies as requests takes them: an object of scheme (or ``scheme://host``) to URL, also as text.

        Messages quote no value, since a proxy's URL may hold a password.
        """
        value = self.raw(name)
        if value is None:
            return {}
        if isinstance(value, str):
            value = self._json(name, value)
        if not isinstance(value, Mapping):
            self.refuse(name, 'must be an object such as {"https": "http://proxy:3128"}')
        found = {}
        for key, item in value.items():
            if item is None or item == "":
                continue
            if not isinstance(key, str) or not isinstance(item, str):
                self.refuse(name, "must map text to text")
            if key != "no_proxy":
                self._check_proxy(name, key, item)
            found[key.lower()] = item.strip()
        return found

    def _check_proxy(self, name: str, key: str, url: str) -> None:
        try:
            parts = urlsplit(url.strip())
            _ = parts.port
        except ValueError:
            self.refuse(name, f"has no usable URL for {key!r}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            self.refuse(
                name,
                f"needs an http:// or https:// URL for {key!r}; other kinds of proxy don't serve both "
                "clients",
            )

    def _json(self, name: str, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            self.refuse(name, "is not valid JSON")


def as_bool(value: object) -> bool | None:
    """Read a boolean; ``None`` for what isn't one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return value == 1
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
    return None


def as_number(value: object) -> float | None:
    """Read a finite number; ``None`` for what isn't one, ``True`` and ``"0x10"`` included."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def as_integer(value: object) -> int | None:
    """Read a whole number; ``None`` for what isn't one."""
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        # Python refuses to read very long digits; no field of a connection needs more than these.
        return int(value) if len(value) <= 30 else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = as_number(value)
    return int(found) if found is not None and found.is_integer() else None
