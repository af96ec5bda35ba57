# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The reference of what DAG authors and programs import, as HTML made of the docstrings.

``python -m tests.docs.reference [FOLDER]`` builds it into ``.build/api``. Needs the extra ``docs``. Whatever
the tool warns of is an error.
"""

from __future__ import annotations

import argparse
import importlib
import re
import warnings
from pathlib import Path
from typing import Any

import pdoc
import pdoc.doc
import pdoc.render

from tests.docs.pages import ROOT

#: Modules with public names, in the order of the index.
MODULES = [
    f"airflow_provider_jimeng.{name}"
    for name in (
        "operators.jimeng",
        "operators.base",
        "sensors.jimeng",
        "hooks.jimeng",
        "hooks.volcengine",
        "triggers.jimeng",
        "links.jimeng",
        "exceptions",
        "retries",
        "api.signing",
        "api.codes",
        "emulator",
    )
]
#: About names that come from Airflow's own base classes: nothing of it is about these docstrings.
_AIRFLOWS = (
    r"Cannot determine where .*\._BaseOperator__init_kwargs is taken from",
    r"Failed to run TYPE_CHECKING code .*No module named 'airflow\.",
    r"Error parsing type annotation (Operator|TaskInstance)\b",
)
#: A role of reStructuredText that the tool has not understood, and left in the page.
_LEFT = re.compile(r":(?:class|meth|func|mod|attr|data|param|raises|return)[^:<]{0,60}:(?:`|&#96;| )")


class MarkupError(ValueError):
    """A docstring that the tool did not understand as it was meant."""


def build(folder: Path) -> list[Path]:
    """
    Build the pages.

    :param folder: where to; made if it is missing.
    :return: the pages.
    :raises MarkupError: the tool warned, or left markup as it stands in the source.
    """
    pdoc.render.configure(
        docformat="restructuredtext",
        show_source=False,
        footer_text="airflow-provider-jimeng",
        template_directory=None,
    )
    # Airflow takes over how warnings are shown when it is first imported.
    for name in MODULES:
        importlib.import_module(name)
    # What Airflow's own base classes have is Airflow's to document.
    genuine = pdoc.doc.Class.inherited_members.func  # type: ignore[attr-defined]
    pdoc.doc.Class.inherited_members = property(_ours(genuine))  # type: ignore[assignment]
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            pdoc.pdoc(*MODULES, output_directory=folder)
    finally:
        pdoc.doc.Class.inherited_members = property(genuine)  # type: ignore[assignment]
    pages = sorted(folder.rglob("*.html"))
    complaints = [str(each.message) for each in told if issubclass(each.category, UserWarning)]
    left = [each for each in complaints if not any(re.search(known, each) for known in _AIRFLOWS)]
    left += [f"{page.name}: {found[0]}" for page in pages if (found := _LEFT.search(page.read_text("utf-8")))]
    if left:
        raise MarkupError("\n".join(left))
    return pages


def _ours(genuine: Any) -> Any:
    def inherited(self: pdoc.doc.Class) -> dict[Any, Any]:
        members: dict[Any, Any] = genuine(self)
        return {
            place: each for place, each in members.items() if place[0].startswith("airflow_provider_jimeng")
        }

    return inherited


def main() -> None:
    """Build the reference and tell where it is."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.reference", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / ".build" / "api")
    folder = parser.parse_args().folder
    pages = build(folder)
    print(f"{len(pages)} pages: {folder / 'index.html'}")


if __name__ == "__main__":
    main()
