# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A changed module in a process: in the place of functions that are there, or of a file to be imported."""

from __future__ import annotations

import gc
import importlib.abc
import importlib.util
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.mutation.changes import Mutant


def _functions(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _functions(each)


def replace(mutant: Mutant) -> bool:
    """
    Give the functions of the module that was imported the changed code.

    :return: ``False`` if there is no function whose code differs, or it can't be replaced (it closes over
        other variables): then only importing helps.
    """
    changed = {(each.co_qualname, each.co_firstlineno): each for each in _functions(mutant.code())}
    path = str(mutant.path.resolve())
    replaced = False
    for function in gc.get_objects():
        # Not isinstance, which makes somebody's lazy objects load what they stand for.
        if type(function) is not FunctionType or function.__code__.co_filename != path:
            continue
        old = function.__code__
        new = changed.get((old.co_qualname, old.co_firstlineno))
        if new is None or new == old:
            continue
        try:
            function.__code__ = new
        except ValueError:
            return False
        replaced = True
    return replaced


class Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a changed module instead of its file."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self._mutant.module:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(self._mutant.path))

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self._mutant.path.resolve())
        exec(self._mutant.code(), module.__dict__)  # noqa: S102 - our own source, changed in one place

    def install(self) -> None:
        sys.meta_path.insert(0, self)
