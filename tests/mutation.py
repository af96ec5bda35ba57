# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
How much the tests of a folder notice: the code is changed in one place, and they should fail.

``python -m tests.mutation airflow_provider_jimeng/policy tests/policy [--limit N] [--seconds S] [-- -k X]``

Changes are of comparisons, boolean and arithmetic operators, conditions, constants and returned values. Each
is tried in a forked process that imports the changed module instead of the file: no file is written.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy  # noqa: F401  so that no child has to

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """A changed module."""

    path: Path
    line: int
    what: str
    source: str


def _changes(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Yield how a node may be changed: in words, and a function that does it to a copy."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            if (swap := _SWAPS.get(type(operator))) is not None:
                yield _words(operator, swap), lambda n, at=at, swap=swap: n.ops.__setitem__(at, swap())
    elif isinstance(node, (ast.BoolOp, ast.BinOp)):
        if (swap := _SWAPS.get(type(node.op))) is not None:
            yield _words(node.op, swap), lambda n, swap=swap: setattr(n, "op", swap())
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "condition negated", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", lambda n: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield f"{node.value!r} -> {node.value + 1!r}", lambda n: setattr(n, "value", n.value + 1)
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "returns None", lambda n: setattr(n, "value", ast.Constant(None))


def _without_effect(tree: ast.AST) -> set[int]:
    """Return the nodes whose change no test can notice: what dataclasses are made with, imports for types."""
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            roots += node.decorator_list
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            roots.append(node)
    return {id(each) for root in roots for each in ast.walk(root)}


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _words(old: ast.AST, new: type[ast.AST]) -> str:
    return f"{type(old).__name__} -> {new.__name__}"


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield every changed form of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    idle = _without_effect(tree)
    for at, node in enumerate(ast.walk(tree)):
        if id(node) in idle:
            continue
        for number, (words, _) in enumerate(_changes(node)):
            other = copy.deepcopy(tree)
            twin = next(each for index, each in enumerate(ast.walk(other)) if index == at)
            list(_changes(twin))[number][1](twin)
            ast.fix_missing_locations(other)
            yield Mutant(path, getattr(node, "lineno", 0), words, ast.unparse(other))


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a changed module instead of its file."""

    def __init__(self, name: str, mutant: Mutant) -> None:
        self._name, self._mutant = name, mutant

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self._name:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(self._mutant.path))

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self._mutant.path)
        code = compile(self._mutant.source, str(self._mutant.path), "exec")
        exec(code, module.__dict__)  # noqa: S102 - our own source, changed in one place


def survives(mutant: Mutant | None, arguments: Sequence[str], seconds: float) -> bool:
    """Run the tests on a changed module (``None``: on none) in a child; return whether they pass."""
    child = os.fork()
    if child == 0:
        os.setsid()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        if mutant is not None:
            name = ".".join(mutant.path.with_suffix("").parts)
            sys.meta_path.insert(0, _Instead(name, mutant))
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *arguments])))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.02)
    # It hangs, which is noticed.
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("code", type=Path)
    parser.add_argument("tests")
    parser.add_argument("--limit", type=int, default=None, help="a sample of so many")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin none after so long")
    parser.add_argument("--seed", type=int, default=1)
    # What comes after -- is pytest's.
    given = [*sys.argv[1:], "--"]
    options = parser.parse_args(given[: given.index("--")])
    arguments = [options.tests, *given[given.index("--") + 1 : -1]]
    began = time.monotonic()
    if not survives(None, arguments, 600.0):
        print("the tests fail on the code as it is")
        return 2
    alone = time.monotonic() - began
    files = sorted(options.code.rglob("*.py")) if options.code.is_dir() else [options.code]
    found = [each for path in files for each in mutants(path)]
    chosen = list(found)
    random.Random(options.seed).shuffle(chosen)
    alive: list[Mutant] = []
    tried = 0
    for mutant in chosen[: options.limit]:
        if time.monotonic() - began > options.seconds:
            break
        tried += 1
        if survives(mutant, arguments, 30.0 + 5 * alone):
            alive.append(mutant)
            print(f"{mutant.path}:{mutant.line}: {mutant.what}", flush=True)
    share = 100.0 * (tried - len(alive)) / max(1, tried)
    took = time.monotonic() - began
    print(
        f"{tried} of {len(found)} changes tried in {took:.0f} s: {tried - len(alive)} noticed, {share:.1f} %"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
