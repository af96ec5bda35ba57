# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What a run works with, and on what terms; nothing of Airflow is needed for either."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_jimeng.bulk.away import InputsAway
from airflow_provider_jimeng.bulk.content import Folder, Mine
from airflow_provider_jimeng.lifecycle.wanted import Policies

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from airflow_provider_jimeng.bulk.items import BadLine, Fate, Item
    from airflow_provider_jimeng.client.aio import AsyncClient
    from airflow_provider_jimeng.client.settings import AccountSettings
    from airflow_provider_jimeng.ledger.records import Provenance, TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger
    from airflow_provider_jimeng.lifecycle.ensured import Ensured
    from airflow_provider_jimeng.lifecycle.land import Fetch, Lander
    from airflow_provider_jimeng.lifecycle.revive import Revived
    from airflow_provider_jimeng.lifecycle.wanted import Superseded, Wanted


class Ensure(Protocol):
    """One pass towards a task for a content; see :class:`~.lifecycle.submit.Submitter`."""

    def __call__(
        self,
        wanted: Wanted,
        *,
        supersede: Superseded | None,
        budget: int | None,
        watched: Callable[[], Collection[str]],
        stopping: Callable[[], bool] = ...,
        lost: TaskRecord | None = ...,
    ) -> Ensured:
        """
        Return the task in hand, or what to wait for.

        :param lost: a row that was just proven lost, and that is not asked about again.
        :raises JimengStoppedError: it would have to be submitted, and ``stopping`` tells that nothing is.
        """


@dataclass(frozen=True, slots=True)
class Tools:
    """
    What a run works with.

    :param want: gives an item its identity; raises :class:`JimengInputError` where it has none.
    :param inspect: looks at a content's inputs before it is submitted or reused, off the run's own thread:
        may note validators, and name a row that is to be paid for again.
    :param probe: looks whether a content's inputs can be what its product needs, before its first submit, off
        the run's own thread; raises where they can't.
    :param ensure: submits or adopts.
    :param ask: asks about a paid task that was given up, or that may be another account's.
    :param query_client: makes the client for questions; called again where the credentials were refused.
    :param fetch: returns what downloads the result of a row; with a URL that is fresh, if there is one.
    :param report: gets the fate of each line, once.
    :param gauge: gets numbers to publish.
    :param stopping: tells that the run was told to stop (SIGTERM).
    :param newest: returns the settings with the numbers of slots as they are now; asked often.
    :param away: what is known of stores of inputs that do not answer.
    """

    ledger: Ledger
    settings: AccountSettings
    want: Callable[[Item], Wanted]
    inspect: Callable[[Wanted], tuple[Wanted, TaskRecord | None]]
    probe: Callable[[Wanted], None]
    ensure: Ensure
    ask: Callable[[TaskRecord], Revived]
    query_client: Callable[[], AsyncClient]
    fetch: Callable[[TaskRecord, str | None], Fetch]
    lander: Lander
    folder: Folder
    report: Callable[[Fate, Item | BadLine], Any]
    gauge: Callable[[str, float], None] = lambda name, value: None
    stopping: Callable[[], bool] = lambda: False
    away: InputsAway = field(default_factory=InputsAway)
    newest: Callable[[], AccountSettings] | None = None

    @property
    def account_now(self) -> AccountSettings:
        """The account, whose slots may be more or fewer by now than when the run began, days ago."""
        return self.settings if self.newest is None else self.newest()


@dataclass(frozen=True, slots=True)
class Terms:
    """
    On what terms a run works.

    :param since: epoch seconds of the DAG run's start: what this task instance did before it is not of this
        run. ``None``: all it ever did is.
    :param max_in_flight: most tasks of this run at the vendor at once; ``None``: the account's slots.
    :param budget: most new submits of the whole run.
    :param deadline: epoch seconds after which nothing is submitted any more; what runs is still harvested.
    :param poll_interval: seconds between two questions about a task; ``None`` adapts.
    :param landing_patience: seconds for which the landing of a result is tried while its store is in trouble,
        and for which submits wait for a store that can't be looked at before them.
    :param ledger_patience: seconds for which a silent ledger is waited for.
    :param input_patience: seconds for which the store of an input is waited for; then its lines fail. A leg
        has little: a worker waits with it where slots are free; elsewhere it counts over all legs.
    :param landers: results that are landed at once; more of them while many wait.
    :param ahead: contents of a product that are looked up and inspected ahead of its window.
    :param products: how many products the lines are of, as far as that is known.
    :param blind: seconds from a leg's end to the next one at the least, in which no slot is refilled.
    :param stopped: why nothing is submitted from the beginning; ``None``: something is.
    :param harvested: tasks that were asked about a moment ago, and where their results are, if they are over.
    """

    provenance: Provenance
    policies: Policies = field(default_factory=Policies)
    since: float | None = None
    max_in_flight: int | None = None
    budget: int | None = None
    deadline: float | None = None
    poll_interval: float | None = None
    landing_patience: float = 3600.0
    ledger_patience: float = 300.0
    input_patience: float = 300.0
    landers: int = 4
    ahead: int = 100
    products: int = 1
    blind: float = 8.0
    stopped: str | None = None
    harvested: Mapping[str, str | None] = field(default_factory=dict, repr=False)

    @property
    def mine(self) -> Mine:
        """What tells this run's rows from others."""
        return Mine(self.provenance, self.since)
