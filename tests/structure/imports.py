# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Reads what a module imports, and judges it by the layers. No module of the package is run for that."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "airflow_provider_jimeng"
ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.find_spec(PACKAGE)
assert _SPEC is not None
assert _SPEC.origin is not None
#: The package's sources: the checkout's, or what pip has installed where there is no checkout.
SOURCES = Path(_SPEC.origin).parent

#: From the bottom to the top; each may import what stands before it, and itself.
LAYERS = (
    "exceptions",
    "api",
    "policy",
    "ledger",
    "client",
    "media",
    "lifecycle",
    "bulk",
    "hooks",
    "triggers",
    "links",
    "sensors",
    "operators",
    "cli",
    "ui",
)
PURE = ("exceptions", "api", "policy")
LOWEST_WITH_AIRFLOW = LAYERS.index("hooks")
EMULATOR = "emulator"
EMULATOR_MAY_USE = ("exceptions", "api", EMULATOR)

#: Standard library that reads a clock, opens a socket or waits: nothing for a pure layer.
IMPURE_MODULES = frozenset(
    ("asyncio", "http.client", "multiprocessing", "os", "select", "socket", "sqlite3", "ssl", "subprocess")
) | {"tempfile", "threading", "time", "urllib.request"}
CLOCK_CALLS = frozenset({"now", "utcnow", "today"})


def modules() -> list[tuple[str, Path]]:
    """Return each module of the package, with its dotted name below the package."""
    found = []
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).with_suffix("").as_posix().replace("/", ".")
        found.append((name.removesuffix("__init__").rstrip("."), path))
    return found


def imports(source: str, module: str, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """
    Yield line and absolute name of all that a source imports, at the top, in functions and for type checkers.

    :param module: dotted name below the package, to resolve relative imports with.
    """
    parts = [PACKAGE, *filter(None, module.split("."))]
    package = parts if is_package else parts[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                yield node.lineno, f"{origin}.{alias.name}"


def misstep(module: str, imported: str) -> str | None:
    """Return what is wrong with a module of the package importing a name, ``None`` if nothing is."""
    layer = module.partition(".")[0]
    root, _, rest = imported.partition(".")
    if root == PACKAGE:
        return _misstep_inside(layer, rest.partition(".")[0])
    if root == "airflow" and not _may_use_airflow(layer):
        return "knows of Airflow, which only hooks and the layers above them may"
    if layer in PURE:
        if root not in sys.stdlib_module_names:
            return "is a pure layer: the standard library only"
        if any(imported == name or imported.startswith(f"{name}.") for name in IMPURE_MODULES):
            return "is a pure layer: no socket, no clock, no process"
    return None


def _misstep_inside(layer: str, target: str) -> str | None:
    if target == EMULATOR and layer != EMULATOR:
        return "imports the emulator, which nothing may"
    if layer == EMULATOR:
        return None if target in EMULATOR_MAY_USE or target not in LAYERS else "emulator: may use api only"
    if layer in LAYERS and target in LAYERS and LAYERS.index(target) > LAYERS.index(layer):
        return f"is below {target}"
    return None


def _may_use_airflow(layer: str) -> bool:
    """Modules beside the layers (commands, say) may; the package and its metadata may not."""
    if layer in LAYERS:
        return LAYERS.index(layer) >= LOWEST_WITH_AIRFLOW
    return layer not in ("", "get_provider_info", EMULATOR)


def clock_reads(source: str) -> Iterator[int]:
    """Yield the lines on which a source asks ``datetime`` or ``date`` for the current time."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in CLOCK_CALLS
        ):
            owner = node.func.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if name in ("datetime", "date"):
                yield node.lineno
