# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The submit's whole way (ledger, policy, client, socket) to a vendor, with nothing of Airflow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from airflow_provider_jimeng.api.models import Credentials, Endpoint
from airflow_provider_jimeng.client.settings import AccountSettings
from airflow_provider_jimeng.client.sync import SyncClient
from airflow_provider_jimeng.emulator import EmulatorConfig
from airflow_provider_jimeng.exceptions import JimengError
from airflow_provider_jimeng.ledger.records import Provenance, TaskRecord
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle.submit import Submitter
from airflow_provider_jimeng.lifecycle.wanted import Policies, Request, Wanted, want

if TYPE_CHECKING:
    from airflow_provider_jimeng.lifecycle.ensured import Ensured


def settings_to(origin: str, **changes: Any) -> AccountSettings:
    """Return settings with the emulator's own keys."""
    values: dict[str, Any] = {
        "connect_timeout": 2.0,
        "read_timeout": 2.0,
        "submit_deadline": 5.0,
        "submit_qps": 10_000.0,
        "query_qps": 10_000.0,
        "max_concurrency": 1000,
    }
    keys = EmulatorConfig()
    return AccountSettings(
        "test",
        "account",
        Credentials(keys.access_key, keys.secret_key),
        Endpoint(origin),
        **(values | changes),
    )


@dataclass(slots=True)
class Way:
    """
    From a wish to the ledger's word on it.

    :param account: names a scope of its own, so that many contents don't slow each other down.
    """

    ledger: Ledger
    settings: AccountSettings
    policies: Policies = field(default_factory=Policies)

    def of_account(self, account: str) -> Way:
        return replace(self, settings=replace(self.settings, account=account))

    def wanted(self, name: str) -> Wanted:
        return want(
            Request(f"https://media.test/{name}.png", "https://media.test/template.mp4"),
            settings=self.settings,
            provenance=Provenance("dag", "run", "task"),
            policies=self.policies,
        )

    def submitter(self, client: Any = None) -> Submitter:
        return Submitter(self.ledger, client or SyncClient(self.settings), self.settings)

    def submit(self, name: str) -> Ensured | JimengError:
        """Try once; an error is a result too."""
        try:
            return self.submitter().ensure(self.wanted(name), waiter=name)
        except JimengError as error:
            return error

    def row(self, name: str) -> TaskRecord:
        found = self.ledger.latest(self.wanted(name).key)
        assert found is not None, f"the ledger knows nothing of {name}"
        return found


def _write_without_waiting_for_the_disk(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.execute("PRAGMA synchronous = OFF")


def ledger_in(folder: Path) -> Ledger:
    """Return a ledger for a thousand submits: nothing cuts the power, so no commit waits for a disk."""
    ledger = Ledger(f"sqlite:///{folder}/ledger.db")
    event.listen(ledger._database._engine, "connect", _write_without_waiting_for_the_disk)
    return ledger


def accepted_of(emu: Any) -> dict[str, list[str]]:
    """Return the ids that the vendor gave, by the name of the content's image."""
    found: dict[str, list[str]] = {}
    for task_id, task in emu.ledger()["tasks"].items():
        name = task["content"]["image_url"].rpartition("/")[2].removesuffix(".png")
        found.setdefault(name, []).append(task_id)
    return found
