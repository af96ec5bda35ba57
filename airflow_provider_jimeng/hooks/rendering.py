# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What of a mapped task's arguments is a template, and what is data.

Airflow leaves alone what ``expand(field=upstream)`` gives to a task, and a whole ``XComArg``; but of
``expand_kwargs(upstream)`` it renders the texts. Who can write a manifest, or fill in the form of a run,
could then have ``{{ conn.volcengine_default.password }}`` put into a URL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: Where a field is not called as its argument is.
_ARGUMENTS = {"output_uri": "output"}


def leave_data_alone(operator: Any, fields: Iterable[str], seen: set[int]) -> None:
    """
    Mark the arguments that an upstream task gave to a mapped one, so that Airflow does not render them.

    What the DAG itself says stays a template: in ``partial``, in default arguments, in a literal list.

    :param operator: the operator that Airflow made for one map index.
    :param seen: identities of what is rendered already; those of the data are added.
    """
    mapped = getattr(operator.get_dag(), "task_dict", {}).get(operator.task_id)
    expanded = getattr(getattr(mapped, "expand_input", None), "value", None)
    if not hasattr(expanded, "resolve"):
        return
    for field in fields:
        value = getattr(operator, field, None)
        argument = _ARGUMENTS.get(field, field)
        if not any(argument in each and each[argument] is value for each in _sayings(mapped)):
            seen.add(id(value))


def _sayings(mapped: Any) -> Iterator[Mapping[str, Any]]:
    yield mapped.partial_kwargs
    yield getattr(mapped.get_dag(), "default_args", None) or {}
    group = mapped.task_group
    while group is not None:
        yield getattr(group, "default_args", None) or {}
        group = getattr(group, "parent_group", None)
