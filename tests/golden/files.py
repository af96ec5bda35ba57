# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A golden set as files: without a trace of the machine that made it, and the ledger for two databases."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from airflow_provider_jimeng.ledger import schema

ROOT = Path(__file__).parents[1] / "data" / "golden"
#: What stands in a set for the folder and for the vendor's host of the machine that made it.
FOLDER, HOST = "/the-folder-then", "the-vendor-then:80"
SUMS = "SHA256SUMS"
TABLES = ("jimeng_tasks", "jimeng_landings", "jimeng_limits", "jimeng_waiters", "jimeng_meta")


def versions() -> list[str]:
    """Return the versions of which there is a set, the oldest first."""
    return sorted((path.name for path in ROOT.iterdir() if path.is_dir()), key=_order)


def _order(version: str) -> tuple[list[int], float]:
    release, _, dev = version.partition(".dev")
    return [int(part) for part in release.split(".")], float(dev) if dev else float("inf")


def sums(folder: Path) -> str:
    """Return the digests of a set's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files
    )


def swapped(text: str, pairs: dict[str, str]) -> str:
    for old, new in pairs.items():
        text = text.replace(old, new)
    return text


def swap_in_ledger(file: Path, pairs: dict[str, str]) -> None:
    """Replace words in every text of a ledger, and bring the digests of places up to date."""
    database = sqlite3.connect(file)
    for table in TABLES:
        columns = database.execute(f"SELECT name, type FROM pragma_table_info('{table}')").fetchall()  # noqa: S608 - of constants
        for name in [name for name, kind in columns if kind == "TEXT" or kind.startswith("VARCHAR")]:
            for old, new in pairs.items():
                database.execute(f"UPDATE {table} SET {name} = replace({name}, ?, ?)", (old, new))  # noqa: S608 - of constants
    for number, uri in database.execute("SELECT id, uri FROM jimeng_landings").fetchall():
        digest = hashlib.sha256(uri.encode()).hexdigest()
        database.execute("UPDATE jimeng_landings SET uri_digest = ? WHERE id = ?", (digest, number))
    database.commit()
    database.execute("VACUUM")
    database.close()


def copy_ledger(source: Path, to: Path) -> None:
    """Copy a ledger that may be in use, as one file."""
    database = sqlite3.connect(source)
    database.execute("VACUUM INTO ?", (str(to),))
    database.close()


def as_postgres(file: Path) -> str:
    """Return a ledger as SQL for PostgreSQL, a statement a line, with the tables of the code at hand."""
    dialect: Any = postgresql.dialect()
    statements: list[str] = []
    database = sqlite3.connect(file)
    for table in schema.metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)))
        statements += [
            str(CreateIndex(each).compile(dialect=dialect)) for each in sorted(table.indexes, key=str)
        ]
        names = [column.name for column in table.columns]
        for row in database.execute(f"SELECT {', '.join(names)} FROM {table.name} ORDER BY 1"):  # noqa: S608 - of constants
            values = [_literal(column, value) for column, value in zip(table.columns, row, strict=True)]
            statements.append(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(values)})")  # noqa: S608 - of constants
        if "id" in names:
            last = database.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)
            ).fetchone()
            if last is not None:
                sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
                statements.append(f"SELECT setval({sequence}, {last[0]})")
    database.close()
    return "".join(f"{' '.join(each.split())};\n" for each in statements)


def _literal(column: Any, value: Any) -> str:
    if value is None:
        return "NULL"
    if column.type.python_type is bool:
        return "true" if value else "false"
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
        return f"E'{quoted}'"
    return repr(value)


def write(folder: Path, files: dict[str, Any], pairs: dict[str, str]) -> None:
    """Write JSON values and texts, without a trace of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True) + "\n"
        (folder / name).write_text(swapped(text, pairs), encoding="utf-8")


def copy_outputs(source: Path, to: Path, pairs: dict[str, str]) -> None:
    """Copy what lies in an output folder."""
    # Nothing reads a gallery.
    shutil.copytree(source, to, ignore=shutil.ignore_patterns("*.html"))
    for path in to.rglob("*"):
        if path.suffix in (".json", ".jsonl"):
            path.write_text(swapped(path.read_text(encoding="utf-8"), pairs), encoding="utf-8")
