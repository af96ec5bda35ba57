# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The client of event loops: queries only, and one session per loop for all who wait on a connection."""

from __future__ import annotations

import asyncio
import random
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from airflow_provider_jimeng.api.build import build_request, encode_body, query_body
from airflow_provider_jimeng.api.models import (
    API_VERSION,
    RESULT_ACTION,
    FailureKind,
    Observation,
    SignedRequest,
    TransportFailure,
)
from airflow_provider_jimeng.api.parsing import parse_answer
from airflow_provider_jimeng.client import meter
from airflow_provider_jimeng.client.blame import describe_failure
from airflow_provider_jimeng.client.limiter import query_limiter
from airflow_provider_jimeng.client.route import proxy_for, ready_tls_context, tls_context
from airflow_provider_jimeng.client.sync import QUERY_TRIES, utc_now
from airflow_provider_jimeng.client.wire import MAX_ANSWER_BYTES, plain_body, wire_headers
from airflow_provider_jimeng.policy.backoff import backoff_delay

if TYPE_CHECKING:
    import datetime as dt
    import ssl
    from collections.abc import AsyncGenerator, Callable, Hashable

    from airflow_provider_jimeng.client.settings import AccountSettings

#: More would not be faster: an account's query limit is a handful a second.
MAX_CONNECTIONS = 32


@dataclass(slots=True)
class _Shared:
    session: aiohttp.ClientSession
    keeper: AsyncGenerator[None]


class _Sessions:
    """
    One session per event loop and way to the endpoint.

    A session must be closed on its own loop, and nobody who waits knows who is the last: an asynchronous
    generator that the loop itself finishes when it shuts down (``asyncio.run`` does) closes it then.
    """

    def __init__(self) -> None:
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Shared]] = (
            weakref.WeakKeyDictionary()
        )

    async def get(self, settings: AccountSettings, context: ssl.SSLContext | None) -> aiohttp.ClientSession:
        ways = self._by_loop.setdefault(asyncio.get_running_loop(), {})
        way = (settings.endpoint.origin, id(context), settings.connect_timeout, settings.read_timeout)
        shared = ways.get(way)
        if shared is None or shared.session.closed:
            session = _new_session(settings, context)
            keeper = _close_with_loop(session)
            # Recorded before the first await, so that two that come at once share one.
            ways[way] = shared = _Shared(session, keeper)
            await anext(keeper)
        return shared.session

    async def close(self) -> None:
        """Close the sessions of the running loop."""
        for shared in self._by_loop.pop(asyncio.get_running_loop(), {}).values():
            await shared.keeper.aclose()


async def _close_with_loop(session: aiohttp.ClientSession) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await session.close()


def _new_session(settings: AccountSettings, context: ssl.SSLContext | None) -> aiohttp.ClientSession:
    timeout = aiohttp.ClientTimeout(
        total=settings.query_deadline, sock_connect=settings.connect_timeout, sock_read=settings.read_timeout
    )
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=True if context is None else context, limit=MAX_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeout,
        auto_decompress=False,
        trust_env=False,
        skip_auto_headers=("Content-Type",),
    )


_sessions = _Sessions()


async def close_sessions() -> None:
    """
    Close the running loop's sessions before the loop ends.

    Only needed by a loop that isn't run by ``asyncio.run`` or :class:`asyncio.Runner`; a later query opens
    new ones.
    """
    await _sessions.close()


class AsyncClient:
    """
    Asks one account's endpoint from an event loop, without ever blocking it.

    It can't submit: what runs on an event loop here is a trigger, and a trigger only watches.

    :param settings: the account.
    :param now: the clock of the signature's date.
    """

    def __init__(self, settings: AccountSettings, *, now: Callable[[], dt.datetime] = utc_now) -> None:
        self._settings = settings
        self._now = now

    @property
    def settings(self) -> AccountSettings:
        """The account this client speaks for."""
        return self._settings

    async def query(self, req_key: str, task_id: str) -> Observation:
        """
        Ask for a task; free, so asked again a few times where no answer came.

        :returns: the last observation; an answer is returned as it is, errors included.
        :raises JimengConfigurationError: where the CA bundle can't be read or the proxy can't be used.
        """
        body = encode_body(query_body(req_key, task_id))
        observation = await self._ask(req_key, body)
        for attempt in range(1, QUERY_TRIES):
            if not isinstance(observation, TransportFailure):
                break
            await asyncio.sleep(backoff_delay(attempt, base=0.5, cap=5.0, jitter=random.random()))  # noqa: S311 - jitter may be guessed
            observation = await self._ask(req_key, body)
        return observation

    async def _ask(self, req_key: str, body: bytes) -> Observation:
        await query_limiter(self._settings).acquire_async()
        # Not before: a wait that is ended in this queue has asked nothing.
        meter.add("queries", self._settings.account, req_key)
        proxy = proxy_for(self._settings)
        session = await _sessions.get(self._settings, await self._trust(proxy))
        request = build_request(
            endpoint=self._settings.endpoint,
            credentials=self._settings.credentials,
            action=RESULT_ACTION,
            version=API_VERSION,
            body=body,
            date=self._now(),
        )
        try:
            return await _exchange(session, request, proxy)
        except aiohttp.ClientHttpProxyError as error:
            return TransportFailure(
                FailureKind.NOT_SENT, f"the proxy refuses the way to the host (HTTP {error.status})"
            )
        except aiohttp.ClientConnectorError as error:
            return TransportFailure(FailureKind.NOT_SENT, describe_failure(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return TransportFailure(FailureKind.NO_ANSWER, describe_failure(error))

    async def _trust(self, proxy: str | None) -> ssl.SSLContext | None:
        verify = self._settings.verify
        if not any(url.startswith("https:") for url in (self._settings.endpoint.origin, proxy or "")):
            return None
        return ready_tls_context(verify) or await asyncio.to_thread(tls_context, verify)


async def _exchange(session: aiohttp.ClientSession, request: SignedRequest, proxy: str | None) -> Observation:
    async with session.request(
        request.method,
        request.url,
        headers=wire_headers(request),
        data=request.body,
        proxy=proxy,
        allow_redirects=False,
    ) as response:
        body = await _read_body(response)
        encoding = response.headers.get("Content-Encoding", "")
        return parse_answer(response.status, response.headers, plain_body(body, encoding))


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    try:
        while len(body) < MAX_ANSWER_BYTES and (chunk := await response.content.readany()):
            body += chunk
    except aiohttp.ClientPayloadError:
        # What arrived is judged as it is: cut short, it parses to nothing and is asked for again.
        pass
    return bytes(body[:MAX_ANSWER_BYTES])
