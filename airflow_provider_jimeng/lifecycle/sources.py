# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Whether the bytes behind a content's URLs are still those that were paid for."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.models import TASK_LIFETIME_SECONDS
from airflow_provider_jimeng.exceptions import JimengInputChangedError
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.lifecycle.wanted import FAIL, RESUBMIT, Wanted
from airflow_provider_jimeng.media.inputs import Validators, read_validators

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger
    from airflow_provider_jimeng.media.guard import NetworkGuard

log = logging.getLogger(__name__)

_PAID = frozenset({TaskState.SUBMITTED, TaskState.SUCCEEDED, TaskState.LANDED})


def with_validators(
    wanted: Wanted,
    guard: NetworkGuard,
    timeout: float,
    fetchable: Callable[[str, str], str] = lambda url, field: url,
) -> Wanted:
    """
    Note etag, last-modified and size of the inputs, where their servers tell them.

    Costs a request for one byte per input. An input that can't be read from here is not an error: the vendor
    fetches it, not this machine.

    :param timeout: seconds per input.
    :param fetchable: returns a URL that can be read for one that may name an object in a store.
    :raises JimengInputError: a URL leads to an address that the connection does not allow, or can't be
        presigned.
    """
    read = {
        field: read_validators(fetchable(url, field), guard, timeout) for field, url in wanted.sources.items()
    }
    known = {field: validators.to_dict() for field, validators in read.items() if validators is not None}
    return replace(wanted, validators=json.dumps(known, sort_keys=True)) if known else wanted


def differing(paid: str | None, seen: str | None) -> list[str]:
    """Return the inputs whose bytes are certainly others than those that were paid for."""
    before, after = _load(paid), _load(seen)
    return sorted(field for field in before.keys() & after.keys() if after[field].differs_from(before[field]))


def _load(text: str | None) -> dict[str, Validators]:
    return {field: Validators.from_dict(known) for field, known in json.loads(text or "{}").items()}


def superseded_by(wanted: Wanted, ledger: Ledger, *, since: float | None = None) -> TaskRecord | None:
    """
    Return the row to be paid for again because its inputs changed, if the user chose that.

    A task that this task instance paid for itself is never given up for that: its inputs were looked at
    before they were paid for, and a retry brings its result home. Nor is anybody's whose result can still be
    fetched, and is not stored yet.

    :param since: epoch seconds of the DAG run's start; what this task instance landed before it was asked for
        by an earlier run of the same DAG run, which a person has cleared since.
    :raises JimengInputChangedError: they changed, and the user chose (or left it) to fail.
    """
    record = ledger.latest(wanted.key)
    if record is None or record.state not in _PAID or _is_own(record, wanted, since):
        return None
    changed = differing(record.validators, wanted.validators)
    if not changed:
        return None
    if wanted.policies.on_input_changed == FAIL:
        raise JimengInputChangedError(
            f"Other bytes are behind {' and '.join(changed)} than those that task {record.task_id} was paid "
            "for. Nothing "
            'was submitted. on_input_changed="reuse" keeps the earlier result, "resubmit" pays for a new '
            "one; a new URL "
            "for new bytes avoids the question",
            task_id=record.task_id,
            content_key=wanted.key,
        )
    if wanted.policies.on_input_changed == RESUBMIT and not _waits_to_be_stored(record, ledger):
        log.warning("Other bytes are behind %s: the content is submitted again.", " and ".join(changed))
        return record
    chosen = wanted.policies.on_input_changed != RESUBMIT
    log.log(
        logging.INFO if chosen else logging.WARNING,
        "Other bytes are behind %s; task %s is kept%s.",
        " and ".join(changed),
        record.task_id,
        "" if chosen else ", since its result is not stored yet: a later run pays for a new one",
    )
    return None


def _is_own(record: TaskRecord, wanted: Wanted, since: float | None) -> bool:
    asker = wanted.provenance
    if not asker.task_id or record.attempt_scope != asker.attempt_scope:
        return False
    return record.state is not TaskState.LANDED or since is None or record.created_at >= since


def _waits_to_be_stored(record: TaskRecord, ledger: Ledger) -> bool:
    """Return whether whoever paid for it may still be on the way to fetch it, or to store it."""
    if record.state is TaskState.LANDED:
        return False
    return record.submitted_at is None or ledger.now() - record.submitted_at < TASK_LIFETIME_SECONDS
