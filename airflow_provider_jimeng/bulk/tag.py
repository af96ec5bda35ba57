# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The ledger's identity beside a run's outputs.

A restored backup, a fresh disk or a mistyped configuration is a ledger that has forgotten payments: it would
pay for a whole manifest again. The results themselves remember which ledger paid for them.
"""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_jimeng.exceptions import JimengConfigurationError, JimengLandingError

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.content import Folder

log = logging.getLogger(__name__)


def check_tag(folder: Folder, ledger_uuid: str, *, adopt: bool) -> None:
    """
    Note the ledger's identity in the folder, or compare it with what is noted there.

    :param adopt: a person looked, and lets this ledger take the folder over.
    :raises JimengConfigurationError: another ledger paid for what is there; nothing was sent.
    :raises JimengLandingError: the folder can't be read or written now.
    """
    noted = _read(folder)
    if noted == ledger_uuid:
        return
    if noted is not None and not adopt:
        raise JimengConfigurationError(
            f"Another ledger ({noted}) paid for the results in {folder.target.uri}; this one "
            f"({ledger_uuid}) does not know of them, and would pay for all of them again. Nothing was sent. "
            "Restore or configure the other ledger; or, if paying again is meant, set adopt_output=True once "
            f"or remove {folder.tag.uri}"
        )
    if noted is not None:
        log.warning("Ledger %s takes %s over from ledger %s.", ledger_uuid, folder.target.uri, noted)
    with tempfile.TemporaryDirectory(prefix="jimeng-") as scratch:
        local = Path(scratch) / "ledger.json"
        local.write_text(json.dumps({"ledger": ledger_uuid}) + "\n", encoding="utf-8")
        folder.tag.publish(local)


def _read(folder: Folder) -> str | None:
    if folder.tag.stat() is None:
        return None
    with tempfile.TemporaryDirectory(prefix="jimeng-") as scratch:
        local = Path(scratch) / "ledger.json"
        folder.tag.fetch(local)
        try:
            noted = json.loads(local.read_text(encoding="utf-8"))["ledger"]
        except (ValueError, KeyError, TypeError):
            noted = None
    if not isinstance(noted, str) or not noted:
        raise JimengLandingError(
            f"{folder.tag.uri} does not name a ledger. It keeps a ledger that has forgotten its payments "
            "from paying again; remove it if that is no concern. Nothing was sent"
        )
    return noted
