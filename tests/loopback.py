# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A guard that keeps the traffic of a test run on this machine."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

NAMES_OF_THIS_MACHINE = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", ""})


class OutsideTrafficError(RuntimeError):
    """A test tried to reach another machine; no OSError, so that no network handling mistakes it for one."""


def is_this_machine(host: object) -> bool:
    if host is None:
        return True
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if name.lower().rstrip(".") in NAMES_OF_THIS_MACHINE or name == socket.gethostname():
        return True
    address = _address(name)
    return address is not None and (address.is_loopback or address.is_unspecified)


class LoopbackGuard:
    """Refuses connections that leave the machine, and remembers them: the code may swallow the error."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self._undo: list[Callable[[], None]] = []

    def install(self) -> None:
        self._replace(socket.socket, "connect", self._guarded(socket.socket.connect))
        self._replace(socket.socket, "connect_ex", self._guarded(socket.socket.connect_ex))
        self._replace(socket, "getaddrinfo", self._guarded_lookup(socket.getaddrinfo))

    def uninstall(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _replace(self, owner: Any, name: str, new: Any) -> None:
        inherited = name not in vars(owner)
        old = getattr(owner, name)
        setattr(owner, name, new)
        self._undo.append(
            (lambda: delattr(owner, name)) if inherited else (lambda: setattr(owner, name, old))
        )

    def _guarded(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(sock: socket.socket, address: Any) -> Any:
            if sock.family in (socket.AF_INET, socket.AF_INET6) and not is_this_machine(address[0]):
                self.refused.append(f"{address[0]}:{address[1]}")
                raise OutsideTrafficError(f"The test wanted to connect to {address[0]}:{address[1]}")
            return original(sock, address)

        return connect

    def _guarded_lookup(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            # A name that can't be found is what a machine without a network sees; numbers need no lookup.
            if not is_this_machine(host) and _address(host) is None:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known (no lookups in tests)")
            return original(host, *args, **kwargs)

        return getaddrinfo


def _address(host: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host spells in numbers (``127.1`` is one too), ``None`` for a name."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except OSError:
        return None
