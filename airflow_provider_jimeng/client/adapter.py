# Licensed under the Apache License, Version 2.0. See LICENSE.
"""requests' transport with a gate in it, and without its retries, environment and CA loading."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Protocol

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from airflow_provider_jimeng.client.discretion import discreet

if TYPE_CHECKING:
    from requests import PreparedRequest, Response


class Opens(Protocol):
    """What stands between a connected socket and the first byte of a request."""

    def open(self, connected: Any) -> None:
        """Return to let the request out; raise to keep it in."""


class OnceAdapter(HTTPAdapter):
    """
    Sends one request on one fresh connection.

    :param gate: asked when name, connection, proxy and TLS are through, before anything of the request is
        written.
    :param context: TLS trust, shared by all connections of the process.
    :param proxy: URL of the proxy, ``None`` for a direct way.
    """

    def __init__(self, gate: Opens, context: ssl.SSLContext | None, proxy: str | None) -> None:
        self._context = context
        self._pools = _gated_pools(gate)
        self.proxies = {"http": proxy, "https": proxy} if proxy else {}
        self.verifies = context is None or context.verify_mode != ssl.CERT_NONE
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def send(self, *args: Any, **kwargs: Any) -> Response:
        """Send, without the library's debug line of the whole URL."""
        with discreet():
            return super().send(*args, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, proxy_ssl_context=self._context, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, self._tls()

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Do nothing: the shared context is the trust; a bundle named here would be read again each time."""

    def _tls(self) -> dict[str, Any]:
        return {
            "ssl_context": self._context,
            "cert_reqs": "CERT_REQUIRED" if self.verifies else "CERT_NONE",
        }


def _gated_pools(gate: Opens) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            gate.open(self.sock)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            # Where the connection chose not to verify, urllib3 would warn at each request, and a warning that
            # is an error would strike between the gate and the first byte.
            self.is_verified = True
            gate.open(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
