# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Looking at inputs before anything is paid: whether, how often, and what it means for the submit."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.media_limits import MediaLimits, limits_of
from airflow_provider_jimeng.client.coerce import as_bool
from airflow_provider_jimeng.exceptions import (
    JimengConfigurationError,
    JimengInputError,
    JimengUnreadableInputError,
)
from airflow_provider_jimeng.hooks.inputs import fetchable
from airflow_provider_jimeng.hooks.ledger import option
from airflow_provider_jimeng.ledger.keys import canonical_url, redact_url
from airflow_provider_jimeng.media.guard import FetchError, RefusedAddressError
from airflow_provider_jimeng.media.probe import can_probe, flaws_of
from airflow_provider_jimeng.media.ranges import Gone, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.lifecycle.wanted import Wanted
    from airflow_provider_jimeng.media.guard import NetworkGuard

__all__ = ["Prober", "probing_asked_for"]

_KINDS = {"image_url": "image", "video_url": "video"}
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.5
_REMEMBERED = 10_000
#: After this a file may have changed, or have been put right.
_FRESH_SECONDS = 900.0


def probing_asked_for(probe: Any) -> bool:
    """
    Return whether inputs are looked at before a submit.

    :param probe: an operator's argument: ``True``, ``False``, or ``None`` for ``[jimeng] probe``, and without
        that for whether the extra ``media`` is installed.
    :raises JimengInputError: the argument is none of these.
    :raises JimengConfigurationError: it was asked for, and the extra is missing.
    """
    if probe is not None and not isinstance(probe, bool):
        raise JimengInputError(f"probe must be True, False or None, not {probe!r}. Nothing was paid.")
    text = option("probe") if probe is None else None
    wanted = as_bool(text) if text is not None else probe
    if text is not None and wanted is None:
        raise JimengConfigurationError(
            f"[jimeng] probe must be True or False, not {text!r}. Nothing was sent or paid; correct "
            "Airflow's configuration."
        )
    if wanted and not can_probe():
        raise JimengConfigurationError(
            "Inputs are to be looked at before they are paid for, but Pillow and PyAV are not installed: "
            "install airflow-provider-jimeng[media] where tasks run, or turn it off (probe=False). Nothing "
            "was paid."
        )
    return can_probe() if wanted is None else wanted


class Prober:
    """
    Looks at the inputs of contents; what it found out about a URL serves all contents that share it.

    :param guard: what addresses may be read.
    """

    def __init__(self, guard: NetworkGuard, sleep: Callable[[float], None] = time.sleep) -> None:
        self._guard, self._sleep = guard, sleep
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, MediaLimits], tuple[float, list[str]]] = OrderedDict()
        self._busy: dict[tuple[str, str, MediaLimits], threading.Lock] = {}

    def check(self, wanted: Wanted) -> None:
        """
        Look at the inputs of a content that is about to be submitted.

        :raises JimengInputError: one of them can't be what the product needs; names the field.
        :raises JimengUnreadableInputError: one of them could not be read now. Nothing was paid.
        """
        limits = limits_of(wanted.scope.req_key)
        for field, url in wanted.sources.items():
            kind = _KINDS.get(field)
            if kind is None:
                continue
            flaws = self._flaws(kind, url, field, limits)
            if flaws:
                raise JimengInputError(
                    f"{field}: {'; '.join(flaws)}. Nothing was sent, nothing was paid. Correct the input; "
                    "probe=False leaves the judgement to the vendor",
                    content_key=wanted.key,
                )

    def _flaws(self, kind: str, url: str, field: str, limits: MediaLimits) -> list[str]:
        key = (kind, canonical_url(url), limits)
        with self._lock:
            busy = self._busy.setdefault(key, threading.Lock())
        with busy:
            with self._lock:
                at, flaws = self._known.get(key, (0.0, []))
                fresh = key in self._known and time.monotonic() - at < _FRESH_SECONDS
            if not fresh:
                flaws = self._look(kind, fetchable(url, field), field, limits)
                self._remember(key, flaws)
        with self._lock:
            self._busy.pop(key, None)
        return flaws

    def _remember(self, key: tuple[str, str, MediaLimits], flaws: list[str]) -> None:
        with self._lock:
            self._known[key] = (time.monotonic(), flaws)
            self._known.move_to_end(key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def _look(self, kind: str, url: str, field: str, limits: MediaLimits) -> list[str]:
        """Look, again after a moment where that may help."""
        trouble = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_PAUSE_SECONDS * 2**attempt)
            try:
                return flaws_of(kind, url, self._guard, limits)
            except Gone as error:
                return [f"{error} for {redact_url(url)}"]
            except RefusedAddressError as error:
                raise JimengInputError(f"{field}: {error.message} Nothing was paid.") from None
            except Unreadable as error:
                trouble = str(error)
            except FetchError as error:
                trouble = error.message
        raise JimengUnreadableInputError(
            f"{field}: it could not be looked at before its submit, {_ATTEMPTS} times: "
            f"{trouble.rstrip('.')}. Nothing was sent, nothing was paid; a retry looks again. Where only the "
            "vendor can reach it, probe=False leaves the judgement to the vendor"
        )
