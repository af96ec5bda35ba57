# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
One account of the vendor as the clients need it: keys, endpoint, limits.

:func:`parse_connection` is the only way from an Airflow connection to it; nothing of Airflow is needed for
    that, so
that every rule of the connection can be tested as a table.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_jimeng.api.locations import is_loopback_host
from airflow_provider_jimeng.api.models import Credentials, Endpoint
from airflow_provider_jimeng.client.coerce import Fields, refuse
from airflow_provider_jimeng.client.endpoint import parse_origin
from airflow_provider_jimeng.ledger.records import Scope

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

__all__ = ["AccountSettings", "account_digest", "parse_connection"]

log = logging.getLogger(__name__)

#: A small account survives these (vendor facts, section 4: the default QPS is not published).
DEFAULT_SUBMIT_QPS = 1.0
DEFAULT_QUERY_QPS = 5.0


_UNNAMED = re.compile(r"ak-[0-9a-f]{24}")


def account_digest(access_key: str) -> str:
    """
    Name an account after its access key, without showing the key.

    The ledger keeps history and slots under this name; a rotated key is another account, which is why the
    connection's ``account`` extra exists.
    """
    return f"ak-{hashlib.sha256(access_key.encode('utf-8')).hexdigest()[:24]}"


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """
    Everything a client, a ledger claim or an estimate needs to know about one connection.

    :param conn_id: the Airflow connection this came from; for messages only.
    :param account: the ledger's name of the account.
    :param credentials: never printed.
    :param endpoint: origin, region, service.
    :param connect_timeout: seconds for address, connection and TLS together.
    :param read_timeout: seconds between two reads of an answer.
    :param submit_deadline: seconds for one whole send of a submit, whatever the socket does.
    :param verify: ``True``, ``False``, or a path of a CA bundle.
    :param proxies: proxy URL per scheme, as in requests; may hold a password, so never printed.
    :param submit_qps: submits a second, per process.
    :param query_qps: queries a second, per process.
    :param max_concurrency: slots per req_key; ``None`` where they are learned from 50430.
    :param daily_submit_limit: most new submits per account and UTC day.
    :param price_per_second: price of a second of video, in the user's currency, for estimates.
    :param ledger: UUID of the only ledger through which this account pays; ``None``: any.
    :param allowed_networks: private networks that inputs and results may be on.
    :param from_environment: whether the official SDK's environment variables stand in for the connection.
    """

    conn_id: str
    account: str
    credentials: Credentials
    endpoint: Endpoint = field(default_factory=Endpoint)
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    submit_deadline: float = 60.0
    verify: bool | str = True
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    submit_qps: float = DEFAULT_SUBMIT_QPS
    query_qps: float = DEFAULT_QUERY_QPS
    max_concurrency: int | Mapping[str, int] | None = None
    daily_submit_limit: int | None = None
    price_per_second: float | None = None
    ledger: str | None = None
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    from_environment: bool = False

    @property
    def loopback(self) -> bool:
        """Whether the endpoint is this machine, so that inputs and results may be on it too."""
        return is_loopback_host(urlsplit(self.endpoint.origin).hostname or "")

    @property
    def query_deadline(self) -> float:
        """Seconds for one whole query; a query is free, so a slow one is given up and asked again."""
        return self.connect_timeout + self.read_timeout

    @property
    def endpoint_name(self) -> str:
        """Host and region: the part of the endpoint that belongs to a task's identity."""
        return f"{self.endpoint.host}/{self.endpoint.region}"

    def scope(self, req_key: str) -> Scope:
        """Return the ledger's unit of slots and limits: account, endpoint and req_key."""
        return Scope(account=self.account, endpoint=self.endpoint_name, req_key=req_key)

    def goes_on_as(self, later: AccountSettings) -> bool:
        """
        Return whether settings that were read later are this account's, so that they can ask about its tasks.

        A key that was rotated is; another name, another endpoint, or the environment's keys in place of a
        connection are not: the vendor would say that it knows nothing of what this account paid for.
        """
        if (self.endpoint_name, self.from_environment) != (later.endpoint_name, later.from_environment):
            return False
        same_key = self.credentials.access_key == later.credentials.access_key
        return self.account == later.account or same_key or (self._nameless and later._nameless)

    def may_ask_about(self, account: str, endpoint: str) -> bool:
        """Return whether a row of the ledger can be this account's: one without a name may have a new key."""
        unnamed = self._nameless and _UNNAMED.fullmatch(account) is not None
        return self.endpoint_name == endpoint and (unnamed or self.is_called(account))

    def is_called(self, account: str) -> bool:
        """
        Return whether a row's account certainly is this one: by its name, or by its key if it had none then.

        Any other nameless account may be this one with an earlier key, or somebody else's: what the vendor
        has of its tasks is believed, and that it has none of them is not.
        """
        return account in (self.account, account_digest(self.credentials.access_key))

    @property
    def _nameless(self) -> bool:
        return self.account == account_digest(self.credentials.access_key)

    def limit_for(self, req_key: str) -> int | None:
        """Return the configured slots of a req_key, ``None`` where they are to be learned."""
        if isinstance(self.max_concurrency, Mapping):
            return self.max_concurrency.get(req_key)
        return self.max_concurrency


_KNOWN_EXTRAS = frozenset(
    {
        "account",
        "allow_http",
        "allowed_networks",
        "connect_timeout",
        "daily_submit_limit",
        "ledger",
        "max_concurrency",
        "price_per_second",
        "proxies",
        "query_qps",
        "read_timeout",
        "region",
        "service",
        "session_token",
        "submit_deadline",
        "submit_qps",
        "verify",
    }
)
_SCOPE_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ACCOUNT = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY = re.compile(r"[\x21-\x7e]+")


def parse_connection(
    *,
    conn_id: str,
    login: str | None,
    password: str | None,
    host: str | None,
    schema: str | None,
    port: int | str | None,
    extra: Mapping[str, Any] | str | None,
) -> AccountSettings:
    """
    Read an Airflow connection of type ``volcengine``.

    Unknown extras are ignored, so that a connection written for a later release still works; a known one that
    can't be read is an error, since a limit or a timeout that is silently dropped costs money.

    :param conn_id: for the messages.
    :param login: Access Key ID.
    :param password: Secret Access Key.
    :param host: host name or URL of the endpoint; empty for the vendor's.
    :param schema: ``http`` or ``https``.
    :param port: port of the endpoint.
    :param extra: the extras, as an object or as its JSON text.
    :raises JimengConfigurationError: naming the field; no secret is quoted.
    """
    values = _read_extra(conn_id, extra)
    unknown = sorted(str(name) for name in values.keys() - _KNOWN_EXTRAS)
    if unknown:
        log.debug("Connection %r: extras %s are not known to this release and ignored.", conn_id, unknown)
    fields = Fields(conn_id, values)
    access_key = _key(conn_id, "login", login, "the Access Key ID")
    token = fields.text("session_token", default=None, pattern=_KEY, meaning="a token without spaces")
    account = fields.text(
        "account", default=None, pattern=_ACCOUNT, meaning="a name of at most 128 characters"
    )
    if token and not account:
        fields.refuse(
            "account",
            "is required with `session_token`: temporary keys change every hour, and the ledger would take "
            "each for another account and forget what was paid",
        )
    limits = fields.limits("max_concurrency")
    return AccountSettings(
        conn_id=conn_id,
        account=account or account_digest(access_key),
        credentials=Credentials(
            access_key, _key(conn_id, "password", password, "the Secret Access Key"), token
        ),
        endpoint=Endpoint(
            origin=parse_origin(
                conn_id,
                host=host,
                schema=schema,
                port=port,
                allow_http=fields.flag("allow_http", default=False),
            ),
            region=fields.text("region", default=None, pattern=_SCOPE_WORD, meaning="a region's name")
            or "cn-north-1",
            service=fields.text("service", default=None, pattern=_SCOPE_WORD, meaning="a service's name")
            or "cv",
        ),
        connect_timeout=fields.seconds("connect_timeout", default=10.0),
        read_timeout=fields.seconds("read_timeout", default=30.0),
        submit_deadline=fields.seconds("submit_deadline", default=60.0),
        verify=fields.verify("verify"),
        proxies=fields.proxies("proxies"),
        submit_qps=fields.rate("submit_qps", default=_usual_submit_qps(limits)),
        query_qps=fields.rate("query_qps", default=DEFAULT_QUERY_QPS),
        max_concurrency=limits,
        daily_submit_limit=fields.integer("daily_submit_limit", low=1, high=1_000_000_000),
        price_per_second=fields.number("price_per_second", default=None, low=0, high=1_000_000),
        ledger=fields.text(
            "ledger", default=None, pattern=_UUID, meaning="a ledger's UUID; `ledger identity` tells it"
        ),
        allowed_networks=fields.networks("allowed_networks"),
    )


def _usual_submit_qps(limits: int | Mapping[str, int] | None) -> float:
    """
    Return submits a second that keep known slots busy: all of them are filled within five seconds.

    An account with many slots has an allowance to match; one whose slots are not known gets the least.
    """
    slots = sum(limits.values()) if isinstance(limits, Mapping) else limits or 0
    return max(DEFAULT_SUBMIT_QPS, slots / 5)


def _read_extra(conn_id: str, extra: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    if extra is None or (isinstance(extra, str) and not extra.strip()):
        return {}
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except (ValueError, RecursionError):
            refuse(conn_id, "extra", "is not valid JSON")
    if not isinstance(extra, Mapping):
        refuse(conn_id, "extra", "must be a JSON object")
    return extra


def _key(conn_id: str, name: str, value: str | None, meaning: str) -> str:
    text = (value or "").strip()
    if not text:
        refuse(conn_id, name, f"is empty: it is {meaning}")
    if not _KEY.fullmatch(text):
        refuse(conn_id, name, f"has a space, a control or a non-ASCII character in it: it is {meaning}")
    return text
