# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Manifests in Parquet, where pyarrow is installed."""

from __future__ import annotations

import base64
import datetime
import decimal
import math
from collections.abc import Iterator, Mapping
from typing import IO, Any

from airflow_provider_jimeng.bulk.fields import Row
from airflow_provider_jimeng.bulk.tables import missing_columns
from airflow_provider_jimeng.exceptions import JimengInputError

_BATCH = 1000


def require_pyarrow() -> Any:
    """
    Return pyarrow's Parquet module.

    :raises JimengInputError: naming the package to install.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise JimengInputError(
            "manifest: a Parquet manifest needs the package pyarrow, which is not installed here: "
            "pip install pyarrow, or export the manifest as JSON Lines or CSV. Nothing was paid."
        ) from error
    return pyarrow.parquet


def parquet_rows(file: IO[bytes], after_line: int = 0) -> Iterator[Row]:
    """Yield a row for each row of the file; a file that can't be read further ends with a fatal row."""
    parquet = require_pyarrow()
    number = 0
    try:
        table = parquet.ParquetFile(file, pre_buffer=False, memory_map=False)
        names = list(table.schema_arrow.names)
        told = missing_columns(names) or _twice(names)
        if told is not None:
            yield Row(1, None, told, fatal=True)
            return
        for batch in table.iter_batches(batch_size=_BATCH, use_threads=False):
            if number + batch.num_rows <= after_line:
                number += batch.num_rows
                continue
            for values in batch.to_pylist():
                number += 1
                if number > after_line:
                    yield Row(number, {name: _plain(value) for name, value in values.items()})
    except Exception as error:
        # pyarrow's own errors, OSError, and UnicodeDecodeError for text that is none.
        yield Row(
            number + 1,
            None,
            f"the Parquet file can't be read from here on ({type(error).__name__}); was it written whole?",
            fatal=True,
        )


def _twice(names: list[str]) -> str | None:
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"the column {twice[0][:40]!r} is there twice" if twice else None


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; dates as ISO 8601, decimals as text, bytes as base64."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | datetime.timedelta):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value)
