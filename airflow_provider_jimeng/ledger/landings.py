# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Where results lie: written after the object is there, one row per place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, update

from airflow_provider_jimeng.ledger.engine import read_clock
from airflow_provider_jimeng.ledger.moves import change, open_row
from airflow_provider_jimeng.ledger.parts import part_key
from airflow_provider_jimeng.ledger.records import LandingRecord, LostRace, TaskRecord
from airflow_provider_jimeng.ledger.rows import must_update
from airflow_provider_jimeng.ledger.schema import digest, landings
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ledger.views import landing_at

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

__all__ = ["forget_landing", "move_landing", "record_landing", "renew_etag"]


def record_landing(
    conn: Connection,
    record: TaskRecord,
    *,
    uri: str,
    size: int,
    etag: str | None,
    sha256: str,
    content_type: str | None,
    part: int = 1,
) -> LandingRecord:
    """
    Write that an attempt's result lies at a place; the first makes a ``landed`` of a succeeded row.

    :param part: which of a task's results; only the first one's landing is the row's. It is landed last, so
        that a row is ``landed`` when all of them are.
    """
    row, already = open_row(conn, record, (TaskState.LANDED,))
    now = read_clock(conn)
    if part == 1:
        if already:
            # Whoever found no result a moment ago, and is about to pay for it again, has to look again.
            must_update(conn, row.id, revision=row.revision + 1)
        else:
            change(conn, row, TaskState.LANDED, now, landed_at=now)
    values: dict[str, Any] = {
        "content_key": part_key(row.content_key, part),
        "attempt": row.attempt,
        "uri": uri,
        "uri_digest": digest(uri),
        "size": size,
        "etag": etag,
        "sha256": sha256,
        "content_type": content_type,
        "landed_at": now,
    }
    _put(conn, uri, values)
    return _at(conn, uri)


def move_landing(conn: Connection, old_uri: str, new_uri: str, *, etag: str | None) -> LandingRecord:
    """
    Write that a result was moved; what lay at the new place before is no longer there.

    :param etag: the mark that the store gave the file at its new place, which is seldom the old one.
    """
    old = landing_at(conn, old_uri, lock=True)
    if old is None:
        return _at(conn, new_uri)
    if old_uri != new_uri:
        conn.execute(delete(landings).where(landings.c.uri_digest == digest(new_uri)))
        conn.execute(
            update(landings)
            .where(landings.c.id == old.id)
            .values(uri=new_uri, uri_digest=digest(new_uri), etag=etag)
        )
    return _at(conn, new_uri)


def renew_etag(conn: Connection, landing: LandingRecord, etag: str | None) -> None:
    """Write the mark that a store gave the same bytes anew; not where others were landed there meanwhile."""
    conn.execute(
        update(landings)
        .where(
            landings.c.id == landing.id,
            landings.c.uri_digest == digest(landing.uri),
            landings.c.sha256 == landing.sha256,
        )
        .values(etag=etag)
    )


def forget_landing(conn: Connection, uri: str) -> bool:
    """Write that nothing of this product lies at a place any more; tell whether something did."""
    return conn.execute(delete(landings).where(landings.c.uri_digest == digest(uri))).rowcount > 0


def _put(conn: Connection, uri: str, values: dict[str, Any]) -> None:
    known = landing_at(conn, uri, lock=True)
    if known is None:
        conn.execute(insert(landings).values(**values))
    else:
        conn.execute(update(landings).where(landings.c.id == known.id).values(**values))


def _at(conn: Connection, uri: str) -> LandingRecord:
    found = landing_at(conn, uri)
    if found is None:
        raise LostRace(
            "The ledger knows of no landing there; nothing was changed. List the content's landings."
        )
    return found
