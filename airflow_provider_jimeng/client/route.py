# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The way to the endpoint: proxy and TLS trust, decided once for both clients.

requests and aiohttp disagree about the environment (netrc over ``Authorization``, ``no_proxy``, CA bundles),
so both are told to ignore it, and what an operator of Airflow expects of it is done here.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import certifi
from requests.utils import get_environ_proxies, select_proxy, should_bypass_proxies

from airflow_provider_jimeng.exceptions import JimengConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_jimeng.client.settings import AccountSettings

log = logging.getLogger(__name__)

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: What a choice of proxy depends on; REQUEST_METHOD, since a CGI script's HTTP_PROXY is a request's header.
_PROXY_VARIABLES = (
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "REQUEST_METHOD",
)


def proxy_for(settings: AccountSettings) -> str | None:
    """
    Return the URL of the proxy to the endpoint: the connection's, else the environment's, else ``None``.

    :raises JimengConfigurationError: for a kind of proxy that not both clients can use.
    """
    environment = tuple(map(os.environ.get, _PROXY_VARIABLES))
    return _proxy_in(environment, settings.endpoint.origin, tuple(settings.proxies.items()))


@lru_cache(maxsize=64)
def _proxy_in(
    environment: tuple[str | None, ...], origin: str, proxies: tuple[tuple[str, str], ...]
) -> str | None:
    """Choose once for each state of the environment: to search all of it costs more than to sign a query."""
    return choose_proxy(origin, dict(proxies))


def choose_proxy(url: str, proxies: Mapping[str, str] = {}) -> str | None:
    """Return the proxy for a URL, ``None`` for a direct way; ``no_proxy`` is honoured as in requests."""
    host = urlsplit(url).hostname or ""
    no_proxy = proxies.get("no_proxy")
    own = {name: value for name, value in proxies.items() if name != "no_proxy"}
    if own:
        chosen = None if should_bypass_proxies(url, no_proxy=no_proxy) else select_proxy(url, own)
    else:
        chosen = select_proxy(url, get_environ_proxies(url, no_proxy=no_proxy))
    if chosen is None:
        return None
    chosen = chosen if "://" in chosen else f"http://{chosen}"
    if urlsplit(chosen).scheme not in ("http", "https"):
        raise JimengConfigurationError(
            f"The proxy for {host} is neither http:// nor https://, which not both clients can use. Nothing "
            "was sent or paid; set field `proxies` of the connection, or no_proxy in the environment."
        )
    return chosen


class _Contexts:
    """TLS contexts of this process: reading a CA bundle costs tens of milliseconds, so each is read once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str | bool, ssl.SSLContext] = {}

    def get(self, trust: str | bool, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        found = self._made.get(trust)
        if found is None:
            with self._lock:
                found = self._made.get(trust) or self._made.setdefault(trust, make())
        return found

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._made = {}


_contexts = _Contexts()
# A child that was forked while another thread held the lock would wait for it for ever.
os.register_at_fork(after_in_child=_contexts.forget)


def tls_context(verify: bool | str) -> ssl.SSLContext:
    """
    Return the TLS context for a connection's ``verify``; reads files on first use.

    :raises JimengConfigurationError: where the CA bundle can't be read.
    """
    trust = _trust(verify)
    return _contexts.get(trust, lambda: _make_context(trust))


def ready_tls_context(verify: bool | str) -> ssl.SSLContext | None:
    """Return the TLS context if it was made before, without touching a file."""
    return _contexts._made.get(_trust(verify))


def _trust(verify: bool | str) -> bool | str:
    if verify is True:
        return next((path for name in _CA_VARIABLES if (path := os.environ.get(name))), True)
    return verify


def _make_context(trust: bool | str) -> ssl.SSLContext:
    if trust is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        log.warning("TLS certificates are not verified (`verify` is false): anyone on the way can answer.")
        return context
    path = certifi.where() if trust is True else str(trust)
    location: dict[str, Any] = {"capath": path} if os.path.isdir(path) else {"cafile": path}
    try:
        return ssl.create_default_context(**location)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise JimengConfigurationError(
            f"The CA bundle {path!r} (field `verify` of the connection, or {' or '.join(_CA_VARIABLES)}) "
            f"can't be read: {reason}. Nothing was sent or paid."
        ) from None
