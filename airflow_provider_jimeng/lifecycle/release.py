# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Giving an *unknown* free without a person: where that costs nothing, or where the user chose the risk."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_jimeng.lifecycle.wanted import RESUBMIT

if TYPE_CHECKING:
    from airflow_provider_jimeng.ledger.records import TaskRecord
    from airflow_provider_jimeng.ledger.store import Ledger

log = logging.getLogger(__name__)


def release_unknown(ledger: Ledger, record: TaskRecord) -> None:
    """Give it free: nothing was ever sent, or the user chose to submit again at the risk of paying twice."""
    if record.never_sent:
        log.info("The owner of content %s fell silent before it sent anything.", record.content_key)
        reason = "its owner fell silent before anything was sent"
        ledger.release(record.id, reason=reason, by=record.attempt_scope)
        return
    log.warning(
        "The outcome of an earlier submit of content %s is not known; on_unknown_submit=%r releases it "
        "and submits again. If the vendor did accept it, this content is paid twice.",
        record.content_key,
        RESUBMIT,
    )
    ledger.release(
        record.id,
        reason="on_unknown_submit=resubmit",
        by=record.attempt_scope,
        min_age_seconds=record.resubmit_age_seconds,
    )
