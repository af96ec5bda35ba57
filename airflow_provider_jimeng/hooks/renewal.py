# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Going on with a connection that changes during a wait.

A worker that waits does so for days with the connection it began with: for a task, between pokes, for a slot
that somebody else's task holds. A secrets backend that rotates keys meanwhile must not make it ask in vain
until its deadline, and slots that are bought meanwhile must not idle.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_jimeng.client.sync import SyncClient
from airflow_provider_jimeng.client.wire import still_wanted
from airflow_provider_jimeng.exceptions import JimengError
from airflow_provider_jimeng.policy.poll import PollSettings, PollState, decide_poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.api.models import Credentials, Observation
    from airflow_provider_jimeng.client.settings import AccountSettings

__all__ = ["LastingClient", "Newest"]

log = logging.getLogger(__name__)

#: A secrets backend counts, and may bill, what it is asked: so long after one reading to the next.
RENEW_SECONDS = 15.0
#: The same where nothing was refused, and only numbers may have changed.
KEEP_SECONDS = 60.0


class LastingClient(SyncClient):
    """
    A client that reads the connection anew where a question is refused, and asks again with what it finds.

    A submit is never repeated here. It goes out with the newest keys that are the same account's by name, and
    with nothing else of the newer connection: its intent was written for the deadline that the first one had.
    Keys of an account without a name may ask about what it paid for, but would pay as another.

    :param renewed: returns the connection as it is now, or as it was where that is another account's.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: AccountSettings,
        renewed: Callable[[], AccountSettings],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(settings)
        self._renewed, self._clock = renewed, clock
        self._later: SyncClient | None = None
        self._payer: SyncClient | None = None
        self._renew_at: float | None = None
        # A bulk run asks about several tasks at once.
        self._lock = threading.Lock()

    @property
    def credentials(self) -> Credentials:
        """The keys that the next submit is signed with."""
        return (self._payer or self).settings.credentials

    def pay_with(self, credentials: Credentials) -> None:
        """Sign submits with other keys of the same account from now on."""
        with self._lock:
            if credentials != self.credentials:
                self._payer = SyncClient(replace(self.settings, credentials=credentials))

    def submit(
        self,
        body: bytes,
        *,
        on_late: Callable[[Observation], None],
        started: float | None = None,
        withdrawn: Callable[[], bool] = still_wanted,
    ) -> Observation:
        """Send a submit, exactly once or not at all; see :meth:`.SyncClient.submit`."""
        payer = self._payer
        if payer is None:
            return super().submit(body, on_late=on_late, started=started, withdrawn=withdrawn)
        return payer.submit(body, on_late=on_late, started=started, withdrawn=withdrawn)

    def query(self, req_key: str, task_id: str) -> Observation:
        """Ask for a task; once more where the keys have been rotated since."""
        asker = self._later
        observation = self._ask(asker, req_key, task_id)
        if _is_refusal(observation) and self._renew(asker):
            observation = self._ask(self._later, req_key, task_id)
        return observation

    def _ask(self, asker: SyncClient | None, req_key: str, task_id: str) -> Observation:
        return super().query(req_key, task_id) if asker is None else asker.query(req_key, task_id)

    def _renew(self, refused: SyncClient | None) -> bool:
        """Return whether there is another connection by now than the one that was refused."""
        with self._lock:
            if self._later is not refused:
                return True
            now = self._clock()
            if self._renew_at is not None and now < self._renew_at:
                return False
            self._renew_at = now + RENEW_SECONDS
            settings = self._renewed()
            if settings == (self.settings if refused is None else refused.settings):
                return False
            try:
                if settings.account == self.settings.account:
                    self._payer = SyncClient(replace(self.settings, credentials=settings.credentials))
                self._later = SyncClient(settings)
            except JimengError as error:
                log.warning("Nothing can be asked with the connection as it is now (%s).", error)
                return False
            return True


class Newest:
    """
    An account's settings with the number of slots as it is now, at most :data:`KEEP_SECONDS` old.

    Nothing else of them changes under a run; whether a slot is free is the claim's to decide.

    :param settings: as they were read a moment ago.
    :param read: returns what the connection is now; ``None`` where that is another account's.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: AccountSettings,
        read: Callable[[], AccountSettings | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._read, self._clock = settings, read, clock
        self._due = clock() + KEEP_SECONDS
        self._lock = threading.Lock()

    def settings(self) -> AccountSettings:
        """Return them; nobody waits for a reading, since a secrets backend may be slow."""
        if self._clock() >= self._due and self._lock.acquire(blocking=False):
            self._due = self._clock() + KEEP_SECONDS
            reader = threading.Thread(target=self._renew, name="jimeng-settings", daemon=True)
            try:
                reader.start()
            except RuntimeError:
                # This process can't start another thread now.
                self._lock.release()
        return self._settings

    def _renew(self) -> None:
        try:
            fresh = self._read()
            if fresh is not None:
                self._settings = replace(self._settings, max_concurrency=fresh.max_concurrency)
        finally:
            self._due = self._clock() + KEEP_SECONDS
            self._lock.release()


def _is_refusal(observation: Observation) -> bool:
    """Return whether a wait that began with this answer would read the credentials anew."""
    _, decision = decide_poll(
        PollState(), observation, now=0.0, submitted_at=None, deadline=None, settings=PollSettings()
    )
    return decision.refresh
