# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The client of worker threads: a submit is sent once, a query is asked again."""

from __future__ import annotations

import datetime as dt
import random
import threading
from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.build import build_request, encode_body, query_body
from airflow_provider_jimeng.api.models import (
    API_VERSION,
    RESULT_ACTION,
    SUBMIT_ACTION,
    FailureKind,
    Observation,
    SignedRequest,
    TransportFailure,
)
from airflow_provider_jimeng.client import meter
from airflow_provider_jimeng.client.adapter import OnceAdapter, Opens
from airflow_provider_jimeng.client.limiter import query_limiter, submit_limiter
from airflow_provider_jimeng.client.route import proxy_for, tls_context
from airflow_provider_jimeng.client.wire import (
    WITHDRAWN,
    Patience,
    exchange,
    steady_seconds,
    still_wanted,
)
from airflow_provider_jimeng.policy.backoff import backoff_delay

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.client.settings import AccountSettings

#: How long the answer to a submit is still of use after the deadline: it may hold the id of a paid task.
LATE_ANSWER_SECONDS = 600.0
QUERY_TRIES = 3


def utc_now() -> dt.datetime:
    """Read the local clock, which the signature's date comes from."""
    return dt.datetime.now(dt.UTC)


class SyncClient:
    """
    Speaks to one account's endpoint from ordinary threads.

    Each call is one request on one fresh connection: a connection that was kept alive and has gone stale
    would turn a submit that was never sent into one of unknown outcome. Nothing is redirected, nothing
    repeated by a library, and the environment's netrc never replaces the signature.

    :param settings: the account.
    :param now: the clock of the signature's date.
    :raises JimengConfigurationError: where the CA bundle can't be read or the proxy can't be used.
    """

    def __init__(self, settings: AccountSettings, *, now: Callable[[], dt.datetime] = utc_now) -> None:
        self._settings = settings
        self._now = now
        self._proxy = proxy_for(settings)
        secure = settings.endpoint.origin.startswith("https:") or (self._proxy or "").startswith("https:")
        self._context = tls_context(settings.verify) if secure else None

    @property
    def settings(self) -> AccountSettings:
        """The account this client speaks for."""
        return self._settings

    def submit(
        self,
        body: bytes,
        *,
        on_late: Callable[[Observation], None],
        started: float | None = None,
        withdrawn: Callable[[], bool] = still_wanted,
    ) -> Observation:
        """
        Send a submit, exactly once or not at all, and return within ``submit_deadline`` seconds.

        The deadline covers the wait for the rate limit, the connection and the answer. ``NOT_SENT`` means
        that the request has not left and never will; after ``NO_ANSWER`` a task may exist and be billed.

        :param body: the encoded body; these bytes are signed and sent.
        :param on_late: gets the answer that comes after the deadline (for up to ten minutes, while this
            process lives), in another thread. It may hold the id of a paid task: record it.
        :param started: by :func:`.wire.steady_seconds`, when the intent began to age; now, unless given.
        :param withdrawn: asked until the last moment before the first byte: ``True`` keeps the request in.
        """
        settings = self._settings
        began = steady_seconds() if started is None else started
        left = began + settings.submit_deadline - steady_seconds()
        if left <= 0:
            return TransportFailure(FailureKind.NOT_SENT, "the intent became too old to be sent")
        if not submit_limiter(settings).acquire(timeout=left / 2, withdrawn=withdrawn):
            if withdrawn():
                return TransportFailure(FailureKind.NOT_SENT, WITHDRAWN)
            return TransportFailure(
                FailureKind.NOT_SENT,
                f"this process's turn under the limit of {settings.submit_qps:g} submits a second comes too "
                "late",
            )
        # Not read_timeout: giving up the socket while an answer may still come would lose the id of a paid
        # task, and the caller waits no longer than the deadline anyway.
        read = settings.submit_deadline + LATE_ANSWER_SECONDS
        patience = Patience(settings.connect_timeout, read, settings.submit_deadline, LATE_ANSWER_SECONDS)
        request = self._sign(SUBMIT_ACTION, API_VERSION, body)
        return exchange(request, patience, self._adapter, started=began, on_late=on_late, withdrawn=withdrawn)

    def query(self, req_key: str, task_id: str) -> Observation:
        """
        Ask for a task; free, so asked again a few times where no answer came.

        :returns: the last observation; an answer is returned as it is, errors included.
        """
        body = encode_body(query_body(req_key, task_id))
        meter.add("queries", self._settings.account, req_key)
        observation = self.call(RESULT_ACTION, API_VERSION, body)
        for attempt in range(1, QUERY_TRIES):
            if not isinstance(observation, TransportFailure):
                break
            delay = backoff_delay(attempt, base=0.5, cap=5.0, jitter=random.random())  # noqa: S311 - jitter may be guessed
            threading.Event().wait(delay)
            meter.add("queries", self._settings.account, req_key)
            observation = self.call(RESULT_ACTION, API_VERSION, body)
        return observation

    def call(self, action: str, version: str, body: bytes) -> Observation:
        """
        Make one call of any action, once, within ``connect_timeout + read_timeout`` seconds.

        It knows nothing of money: a submit made with it is not protected by anything.
        """
        settings = self._settings
        query_limiter(settings).acquire()
        patience = Patience(settings.connect_timeout, settings.read_timeout, settings.query_deadline)
        return exchange(self._sign(action, version, body), patience, self._adapter)

    def _sign(self, action: str, version: str, body: bytes) -> SignedRequest:
        return build_request(
            endpoint=self._settings.endpoint,
            credentials=self._settings.credentials,
            action=action,
            version=version,
            body=body,
            date=self._now(),
        )

    def _adapter(self, gate: Opens) -> OnceAdapter:
        return OnceAdapter(gate, self._context, self._proxy)
