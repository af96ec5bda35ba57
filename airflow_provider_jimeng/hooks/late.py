# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Names that are imported when they are first used.

A DAG file is parsed again and again by processes that run nothing: there, an operator costs what its module
imports. What only a worker needs (clients, the ledger, the bulk core) stands behind one of these, in the
``else`` of the ``if TYPE_CHECKING:`` that imports it for type checkers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["late"]


class _Late:
    """
    Stands for a function or a class of a module.

    It can be called, asked for its members and for instances, and gone through where it is an enum.

    It is no type, and no constant: a base class, a default, an exception to catch are imported at once.
    """

    __slots__ = ("_module", "_name")

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _found(self) -> Any:
        return getattr(import_module(self._module), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._found()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found(), name)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._found())

    def __or__(self, other: Any) -> Any:
        # What reads annotations, of an operator's attribute say, evaluates them.
        return self._found() | other

    def __iter__(self) -> Iterator[Any]:
        return iter(self._found())

    def __repr__(self) -> str:
        return f"<{self._module}.{self._name}, imported at its first use>"


def late(module: str, *names: str) -> tuple[Any, ...]:
    """
    Return what stands for names of a module until they are used.

    :param module: absolute name.
    :param names: functions and classes of it.
    """
    return tuple(_Late(module, name) for name in names)
