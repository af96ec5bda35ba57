# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The changes: every place of a file in which one may be made, and the file's tree with it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

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
    """A place of a file, and which of the changes that may be made there."""

    path: Path
    line: int
    what: str
    node: int
    number: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"

    @property
    def module(self) -> str:
        """The changed module's name."""
        return ".".join(self.path.with_suffix("").parts)

    def code(self) -> CodeType:
        """Return the changed module, compiled; its lines keep the numbers that they have in the file."""
        tree = ast.parse(self.path.read_text(encoding="utf-8"))
        place = next(each for index, each in enumerate(ast.walk(tree)) if index == self.node)
        list(_changes(place))[self.number][1](place)
        return compile(ast.fix_missing_locations(tree), str(self.path.resolve()), "exec", dont_inherit=True)


def _changes(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Yield how a node may be changed: in words, and a function that does it."""
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
    """Yield every change of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    idle = _without_effect(tree)
    for at, node in enumerate(ast.walk(tree)):
        if id(node) not in idle:
            for number, (words, _) in enumerate(_changes(node)):
                yield Mutant(path, getattr(node, "lineno", 0), words, at, number)
