# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Where a result came from and where it went, for Airflow's hook lineage and for OpenLineage.

URLs are told without user-info, query and fragment, wherever they go. Lineage is told after the ledger, never
before it, and trouble with it is never the task's.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_jimeng.ledger.keys import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow_provider_jimeng.exceptions import JimengError
    from airflow_provider_jimeng.ledger.records import TaskRecord

__all__ = ["MOST", "Lineage", "TellsLineage", "dataset_name", "inputs_of", "public_uri", "tell_collector"]

log = logging.getLogger(__name__)

#: Most inputs, and most outputs, that one task tells of: as many as Airflow's collector keeps by default.
MOST = 100

_STORES = {"s3a": "s3", "gcs": "gs", "local": "file"}


@dataclass(frozen=True, slots=True)
class Lineage:
    """
    What one task instance read and wrote.

    :param inputs: URLs and paths as anybody has given them; told only as :func:`public_uri` makes them.
    :param outputs: URI and bytes of what was stored; ``None`` where nobody counted them.
    :param record: the ledger's row, where the task is about one.
    :param reused: whether what was paid for earlier was found; ``None`` where that was no question.
    :param counts: the numbers of a bulk run's summary.
    """

    inputs: tuple[str, ...] = field(default=(), repr=False)
    outputs: tuple[tuple[str, int | None], ...] = ()
    record: TaskRecord | None = None
    reused: bool | None = None
    counts: Mapping[str, int] | None = None


def public_uri(place: str) -> str:
    """Return a place as a URI that may be shown: in ASCII, and without user-info, query and fragment."""
    scheme, separator, rest = redact_url(place).partition("://")
    if not separator:
        return f"file://{quote(scheme)}"
    return f"{_STORES.get(scheme.lower(), scheme.lower())}://{quote(rest, safe='/:%[]@+~,;=!$&()*')}"


def dataset_name(place: str) -> tuple[str, str]:
    """
    Return namespace and name of a place, as OpenLineage's naming has them.

    A file is ``file`` and its path, an object the bucket's URI and its key, and for what is on the web, of
    which the naming does not speak, it is the origin and the path.
    """
    bare = redact_url(place)
    scheme, separator, rest = bare.partition("://")
    scheme = _STORES.get(scheme.lower(), scheme.lower())
    if not separator or scheme == "file":
        return "file", "/" + (rest if separator else bare).lstrip("/")
    authority, _, path = rest.partition("/")
    return f"{scheme}://{authority}", f"/{path}" if scheme in ("http", "https") else path.strip("/") or "/"


def inputs_of(record: TaskRecord) -> tuple[str, ...]:
    """Return the URLs among the inputs that a content is named by."""
    return tuple(dict.fromkeys(each for each in _texts(json.loads(record.inputs)) if "://" in each))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def tell_collector(context: Any, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> None:
    """
    Tell Airflow's hook lineage what was read and written; without a reader of it, it forgets at once.

    :param context: the hook that did it.
    """
    try:
        collector = _collector()
        for place in list(dict.fromkeys(inputs))[:MOST]:
            collector.add_input_asset(context, uri=public_uri(place))
        for place in list(dict.fromkeys(outputs))[:MOST]:
            collector.add_output_asset(context, uri=public_uri(place))
    except Exception:
        log.debug("Hook lineage could not be told.", exc_info=True)


def _collector() -> Any:
    try:
        module = import_module("airflow.sdk.lineage")
    except ImportError:  # Airflow 3.1
        module = import_module("airflow.lineage.hook")
    return module.get_hook_lineage_collector()


class TellsLineage:
    """
    What OpenLineage asks an operator for, when its provider is installed and has somewhere to tell it.

    An operator says what it is about with :meth:`_tell` once it knows, and what went wrong with
    :meth:`_told`.
    """

    _lineage: Lineage | None = None
    _failure: JimengError | None = None

    hook: Any

    def _asked_for(self) -> Sequence[str]:
        """Return what the arguments name as inputs: all that is known before the first leg."""
        return ()

    def _tell(self, lineage: Lineage) -> None:
        """Note what this task read and wrote, for whoever asks, and tell Airflow's hook lineage."""
        self._lineage = lineage
        tell_collector(self.hook, lineage.inputs, (uri for uri, _ in lineage.outputs))

    def _told(self, error: JimengError) -> Exception:
        """Note what went wrong, and return what to raise for it."""
        # Where it is needed: a DAG file that only names the operators has no use for it.
        from airflow_provider_jimeng.hooks.failures import for_airflow

        self._failure = error
        return for_airflow(error)

    def get_openlineage_facets_on_start(self) -> Any:
        """Return inputs as the arguments name them, ``None`` without OpenLineage."""
        return self._facets(Lineage(inputs=tuple(self._asked_for())), None)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return inputs, landed outputs and the vendor's task, ``None`` without OpenLineage."""
        return self._facets(self._lineage or Lineage(inputs=tuple(self._asked_for())), None)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """Return the same and the vendor's code and words, ``None`` without OpenLineage."""
        return self._facets(self._lineage or Lineage(inputs=tuple(self._asked_for())), self._failure)

    def _facets(self, lineage: Lineage, failure: JimengError | None) -> Any:
        try:
            from airflow_provider_jimeng.hooks.openlineage import operator_lineage
        except ImportError:
            return None
        return operator_lineage(lineage, failure)
