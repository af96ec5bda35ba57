# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Which addresses inputs and results may be on.

A manifest is data: a line of it that names the cloud's metadata service or a database next door must not make
a worker read it. A name is checked when it is resolved *and* the connected socket is checked again before a
byte of the request is written, since a name server may answer differently the second time.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from requests import PreparedRequest, Response
from requests.structures import CaseInsensitiveDict

from airflow_provider_jimeng.api.parsing import clean_text
from airflow_provider_jimeng.client.adapter import OnceAdapter
from airflow_provider_jimeng.client.blame import describe_failure
from airflow_provider_jimeng.client.route import choose_proxy, tls_context
from airflow_provider_jimeng.client.wire import Gate, steady_seconds
from airflow_provider_jimeng.exceptions import JimengInputError, JimengLandingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_jimeng.client.settings import AccountSettings

log = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Addresses in which another one is wrapped, which a router on the way unwraps.
_NAT64 = IPv6Network("64:ff9b::/96")
#: Where clouds give their machines' credentials away, beside the link-local addresses: AWS by IPv6, Oracle,
#: Alibaba, Volcengine. No emulator is there, whatever its endpoint.
_METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "192.0.0.192", "100.100.100.200", "100.96.0.96")))
_HOUR = 3600.0


class RefusedAddressError(JimengInputError):
    """A URL leads to an address that inputs and results may not be on."""


class FetchError(JimengLandingError):
    """A URL could not be read; nothing is known of what is behind it."""


class NetworkGuard:
    """
    Decides over addresses, and opens URLs that pass.

    :param allowed_networks: private networks the connection allows.
    :param allow_loopback: whether the vendor's endpoint is this machine, so that loopback and private
        addresses are where an emulator's inputs and results are. Link-local addresses (cloud metadata) stay
        refused.
    :param verify: TLS verification, as in the connection.
    :param proxies: proxies, as in the connection; the environment's where it is empty.
    """

    def __init__(
        self,
        allowed_networks: Iterable[Network] = (),
        allow_loopback: bool = False,
        *,
        verify: bool | str = True,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        self._allowed = tuple(allowed_networks)
        self._loopback = allow_loopback
        self._verify = verify
        self._proxies = dict(proxies or {})

    @classmethod
    def of_account(cls, settings: AccountSettings) -> NetworkGuard:
        """Make the guard that a connection asks for."""
        return cls(
            settings.allowed_networks, settings.loopback, verify=settings.verify, proxies=settings.proxies
        )

    def refusal(self, address: Address) -> str | None:
        """Say what is wrong with an address; ``None`` where it may be used."""
        for each in _unwrapped(address):
            kind = _private_kind(each)
            if kind is None or any(each in net for net in self._allowed if net.version == each.version):
                continue
            if self._loopback and kind in ("loopback", "private"):
                continue
            return kind
        return None

    def check(self, url: str) -> None:
        """
        Check a URL's scheme and every address its host has now.

        A host that this machine can't resolve passes: the vendor may, or a proxy.

        :raises RefusedAddressError: naming the host and the address, never the query string.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise _unreadable(url) from None
        if parts.scheme not in ("http", "https") or not host:
            raise RefusedAddressError(f"{_named(url)} is no http:// or https:// URL with a host.")
        for address in _resolve(host, port or (80 if parts.scheme == "http" else 443)):
            self._check_address(host, address)

    def _check_address(self, host: str, address: Address) -> None:
        kind = self.refusal(address)
        if kind is not None:
            raise RefusedAddressError(
                f"Host {host!r} is at {address}, a {kind} address, where this connection allows no inputs "
                "and no results. If that is where they are, add its network to extra `allowed_networks` of "
                "the connection."
            )

    @contextlib.contextmanager
    def open(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: tuple[float, float] = (10.0, 30.0),
        total: float = _HOUR,
    ) -> Iterator[Response]:
        """
        GET a URL and every redirect of it, each checked, and yield the last answer, body unread.

        :param headers: sent to every hop; not for secrets.
        :param timeout: seconds to connect, and between two reads.
        :param total: seconds after which the connection is cut, whatever it does.
        :raises RefusedAddressError: an address on the way is not allowed.
        :raises FetchError: no answer. What fails while the body is read is the reader's to catch.
        """
        expires = steady_seconds() + total
        for _ in range(MAX_REDIRECTS + 1):
            with self._hop(url, headers or {}, timeout, expires) as response:
                onward = _redirect(url, response)
                if onward is None:
                    yield response
                    return
            url = onward
        raise FetchError(f"{_named(url)} leads through more than {MAX_REDIRECTS} redirects.")

    @contextlib.contextmanager
    def _hop(
        self, url: str, headers: Mapping[str, str], timeout: tuple[float, float], expires: float
    ) -> Iterator[Response]:
        self.check(url)
        proxy = choose_proxy(url, self._proxies)
        gate = _PeerGate(expires, None if proxy else self, urlsplit(url).hostname or "")
        secure = url.startswith("https:") or (proxy or "").startswith("https:")
        timer = threading.Timer(max(0.0, expires - steady_seconds()), gate.hang_up)
        timer.daemon = True
        with contextlib.closing(
            OnceAdapter(gate, tls_context(self._verify) if secure else None, proxy)
        ) as adapter:
            timer.start()
            try:
                response = _get(adapter, url, headers, timeout)
                try:
                    yield response
                finally:
                    response.close()
            finally:
                timer.cancel()


class _PeerGate(Gate):
    """Looks at who answered before the request is written."""

    def __init__(self, expires: float, guard: NetworkGuard | None, host: str) -> None:
        super().__init__(expires)
        self._guard = guard
        self._host = host

    def open(self, connected: Any) -> None:
        if self._guard is not None:
            peer = ip_address(connected.getpeername()[0].partition("%")[0])
            self._guard._check_address(self._host, peer)
        super().open(connected)


def _get(
    adapter: OnceAdapter, url: str, headers: Mapping[str, str], timeout: tuple[float, float]
) -> Response:
    prepared = PreparedRequest()
    try:
        prepared.prepare_method("GET")
        prepared.prepare_url(url, None)
        prepared.headers = CaseInsensitiveDict(
            {
                "User-Agent": "airflow-provider-jimeng",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
                **headers,
            }
        )
        return adapter.send(
            prepared, stream=True, timeout=timeout, verify=adapter.verifies, proxies=adapter.proxies
        )
    except RefusedAddressError:
        raise
    except Exception as error:
        # Whatever it is, its text may hold the URL's query string.
        raise FetchError(f"{_named(url)} could not be read: {describe_failure(error)}.") from None


def _redirect(url: str, response: Response) -> str | None:
    onward = response.headers.get("Location")
    if response.status_code not in _REDIRECTS or not onward:
        return None
    try:
        target = urljoin(url, onward)
        insecure = urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https"
    except ValueError:
        raise _unreadable(onward) from None
    if insecure:
        raise RefusedAddressError(f"{_named(url)} redirects from https:// to {_named(target)}.")
    return target


def _unreadable(url: str) -> RefusedAddressError:
    return RefusedAddressError(f"{_named(url)} has a host or a port that can't be read.")


def _named(url: str) -> str:
    """Name a URL, which may be a server's: no credentials, no query string, nothing that moves a cursor."""
    try:
        parts = urlsplit(url)
        shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return clean_text(shown) or "The URL"
    except ValueError:
        return "The URL"


def _resolve(host: str, port: int) -> list[Address]:
    with contextlib.suppress(OSError, ValueError):
        # The old spellings of an address (127.1, 0x7f000001, 2130706433), which a proxy may understand too.
        return [IPv4Address(socket.inet_aton(host))]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return []
    return [ip_address(str(each[4][0]).partition("%")[0]) for each in found]


def _unwrapped(address: Address) -> Iterator[Address]:
    """Yield an address and those that are wrapped in it."""
    yield address
    if isinstance(address, IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
        yield from (each for each in inner if each is not None)


def _private_kind(address: Address) -> str | None:
    if address in _METADATA:
        return "cloud metadata"
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified:
        return "unspecified"
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address in _NAT64):
        # Only an envelope: the address in it decides.
        return None
    if address.is_private or (isinstance(address, IPv6Address) and address.is_site_local):
        return "private"
    return None if address.is_global and not address.is_reserved else "reserved"
