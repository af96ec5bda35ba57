# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What one free question to the vendor says about a connection, in words that tell which field to correct."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.models import Answer, Envelope, Observation, TransportFailure
from airflow_provider_jimeng.policy.submit import clock_skew

if TYPE_CHECKING:
    import datetime as dt

    from airflow_provider_jimeng.client.settings import AccountSettings

#: No task has this id: the vendor's are 19 digits.
IMPOSSIBLE_TASK_ID = "0"
#: Below this a difference is the network's and the ``Date`` header's whole seconds, not the clock's.
_NOTABLE_SKEW_SECONDS = 30.0

# Vendor facts, section 3.
_WRONG_KEY = frozenset({100009, 100028})
_WRONG_SIGNATURE = frozenset({100010})
_CLOCK = frozenset({100006})
_NO_SIGNATURE = frozenset({100003, 100005})
_BAD_SCOPE = frozenset({100024, 100025})
_TOKEN = frozenset({100026})
_PERMISSION = frozenset({100011, 100012, 100013, 100021})
_WRONG_SERVICE = frozenset({100007, 100008, 100020})
_NOT_ACTIVATED = frozenset({50400})
_THROTTLED = frozenset({50429, 50430, 100018, 100027, 100034})


def diagnose(observation: Observation, settings: AccountSettings, now: dt.datetime) -> tuple[bool, str]:
    """
    Judge the answer to a query for a task that can't exist.

    :param now: the local clock when the question was signed.
    :returns: whether the connection works, and what was found; no secret is quoted.
    """
    host = settings.endpoint.host
    if isinstance(observation, TransportFailure):
        return False, (
            f"{host} is unreachable: {observation.detail}. Check field `host`, the proxy and the network's "
            "way there."
        )
    if observation.envelope is Envelope.NONE:
        return False, _not_the_vendor(observation, host)
    words = f"{observation.code} {observation.name or observation.message}".strip()
    remedy = _remedy(observation, settings, now)
    if remedy is not None:
        quoted = f", request_id {observation.request_id}" if observation.request_id else ""
        return False, f"{remedy} (the vendor says: {words}{quoted})"
    limited = ", though it is limiting the rate of calls right now" if observation.code in _THROTTLED else ""
    return True, f"{host} accepts the key and its signature{limited}; nothing was submitted."


def _not_the_vendor(answer: Answer, host: str) -> str:
    if answer.http_status == 407:
        return f"The proxy to {host} asks for a password. Check field `proxies`, or the environment's proxy."
    return (
        f"{host} answers with HTTP {answer.http_status} and no answer of the vendor's ({answer.message}). "
        "Check field `host` and the proxy; if they are right, the vendor has trouble: try again later."
    )


def _remedy(answer: Answer, settings: AccountSettings, now: dt.datetime) -> str | None:
    code = answer.code
    skew = clock_skew(answer, now)
    if code in _CLOCK:
        return f"Bad clock: the vendor refuses the signature's date. {_clock_words(skew)}"
    if code in _WRONG_KEY:
        return "Wrong key: the vendor doesn't know this Access Key ID. Check field `login`."
    if code in _WRONG_SIGNATURE:
        hint = f" {_clock_words(skew)}" if skew is not None and abs(skew) > _NOTABLE_SKEW_SECONDS else ""
        return (
            "Wrong signature: the Access Key ID is known, but the Secret Access Key doesn't belong to it. "
            f"Check field `password`.{hint}"
        )
    if code in _NO_SIGNATURE:
        return "The signature did not arrive: something on the way, likely a proxy, removes headers."
    if code in _TOKEN:
        return (
            "The session token is wrong or has run out. Renew extra `session_token` with login and password."
        )
    if code in _BAD_SCOPE:
        return (
            f"The signature's scope is refused: region {settings.endpoint.region!r}, service "
            f"{settings.endpoint.service!r}. Check extras `region` and `service`."
        )
    if code in _PERMISSION:
        return (
            "Missing permission: the key is right, but its user may not call this. Give it a policy for `cv`."
        )
    if code in _NOT_ACTIVATED:
        return (
            "Product not activated: the key is right, but this account has no motion imitation switched on."
        )
    if code in _WRONG_SERVICE:
        return "The endpoint doesn't know this action. Check field `host` and extras `region` and `service`."
    if code in _THROTTLED:
        return None
    if answer.envelope is Envelope.GATEWAY and code != 50215:
        return "The vendor's gateway refuses or fails the call."
    if answer.http_status >= 500:
        return "The key is accepted, but the vendor has internal trouble: try again later."
    return None


def _clock_words(skew: float | None) -> str:
    if skew is None:
        return "The answer has no Date header to compare with: set this machine's clock (NTP)."
    if abs(skew) <= _NOTABLE_SKEW_SECONDS:
        return f"This machine's clock is within {_NOTABLE_SKEW_SECONDS:g} s of the vendor's: try again."
    direction = "ahead of" if skew > 0 else "behind"
    return f"This machine's clock is {abs(skew):.0f} s {direction} the vendor's: set it (NTP)."
