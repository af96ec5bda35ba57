# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Code in the pages is code: Python compiles and knows the names it imports, JSON and JSON Lines are read."""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, code_blocks, page
from tests.docs.test_readme import part

PYTHON = [
    (path.name, number, code)
    for path in PAGES
    for number, code in enumerate(code_blocks(path.read_text(encoding="utf-8"), "python"))
]


def test_code_is_found() -> None:
    assert len(PYTHON) > 15


@pytest.mark.parametrize(("name", "number", "code"), PYTHON, ids=[f"{name}-{n}" for name, n, _ in PYTHON])
def test_python_compiles_and_imports_what_is_there(name: str, number: int, code: str) -> None:
    tree = ast.parse(code, f"{name}, block {number}")
    missing = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_provider_jimeng"):
            module = importlib.import_module(node.module or "")
            missing += [alias.name for alias in node.names if not hasattr(module, alias.name)]
    assert missing == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_json_is_json(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    read = [json.loads(block) for block in code_blocks(text, "json")]
    read += [json.loads(line) for block in code_blocks(text, "jsonl") for line in block.splitlines() if line]

    assert all(isinstance(each, (dict, list)) for each in read)


def test_the_page_of_products_shows_its_example() -> None:
    assert code_blocks(page("docs/products.md"), "python") == [
        part("dags/example_jimeng_other_products.py", "howto_jimeng_second_product"),
        part("dags/example_jimeng_other_products.py", "howto_jimeng_picture"),
    ]
