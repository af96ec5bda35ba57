# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A presigned GET of an object in Volcengine's object storage (TOS); vendor facts, section 6.

The vendor's own filesystem package can't presign, and the algorithm is the signature of the API in other
words: ``TOS4-HMAC-SHA256``, the service ``tos``, the parameters in the query, and no digest of a body.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field
from urllib.parse import quote

from airflow_provider_jimeng.api.locations import is_loopback_host
from airflow_provider_jimeng.api.signing import (
    canonical_query,
    canonical_request,
    credential_scope,
    signature,
    signed_host,
    signing_key,
    x_date,
)

__all__ = ["LONGEST_SECONDS", "TosStore", "presign_get"]

#: The vendor's limit for the lifetime of a presigned URL: a week.
LONGEST_SECONDS = 604800
_ALGORITHM = "TOS4-HMAC-SHA256"
_SERVICE = "tos"


@dataclass(frozen=True, slots=True)
class TosStore:
    """
    Where TOS is, and who asks.

    :param region: such as ``cn-beijing``.
    :param endpoint: scheme and host, for another than ``https://tos-<region>.volces.com``.
    :param session_token: of temporary credentials; the URL dies with them, however long it was made for.
    """

    access_key: str
    secret_key: str = field(repr=False)
    region: str
    session_token: str | None = field(default=None, repr=False)
    endpoint: str | None = None

    @property
    def origin(self) -> tuple[str, str]:
        """Scheme and host of the service."""
        scheme, _, host = (self.endpoint or f"https://tos-{self.region}.volces.com").partition("://")
        return scheme, signed_host(host.rstrip("/"))

    def place(self, bucket: str, key: str) -> tuple[str, str, str]:
        """
        Return scheme, host and encoded path of an object.

        The bucket is part of the host's name, as the vendor wants it; on this machine, where such a name
        resolves to nothing, it is the path's first part.
        """
        scheme, host = self.origin
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        path = f"/{quote(key, safe='/-_.~')}"
        return (
            (scheme, host, f"/{bucket}{path}")
            if is_loopback_host(name)
            else (scheme, f"{bucket}.{host}", path)
        )


def presign_get(store: TosStore, bucket: str, key: str, *, seconds: int, date: dt.datetime) -> str:
    """
    Return a URL that lets anybody read one object for a while; a secret.

    :param key: the object's name, as it is: not percent-encoded.
    :param seconds: 1 to 604,800.
    :param date: aware; the moment from which it counts.
    :raises ValueError: the lifetime is out of the vendor's range.
    """
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"a presigned URL of TOS lives 1 to {LONGEST_SECONDS} seconds, not {seconds}")
    scheme, host, path = store.place(bucket, key)
    stamp = x_date(date)
    scope = credential_scope(stamp[:8], store.region, _SERVICE)
    named = {
        "X-Tos-Algorithm": _ALGORITHM,
        "X-Tos-Credential": f"{store.access_key}/{scope}",
        "X-Tos-Date": stamp,
        "X-Tos-Expires": str(seconds),
        "X-Tos-SignedHeaders": "host",
    }
    if store.session_token is not None:
        named["X-Tos-Security-Token"] = store.session_token
    query = canonical_query(named.items())
    canonical = canonical_request(
        method="GET",
        path=path,
        query=query,
        headers_block=f"host:{host}\n",
        signed_headers="host",
        body_hash="UNSIGNED-PAYLOAD",
    )
    to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    mark = signature(signing_key(store.secret_key, stamp[:8], store.region, _SERVICE), to_sign)
    return f"{scheme}://{host}{path}?{query}&X-Tos-Signature={mark}"
