# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The page on backfills shows the example as it is."""

from __future__ import annotations

from tests.docs.pages import code_blocks, page
from tests.docs.test_readme import part


def test_the_code_is_that_of_the_example_dag() -> None:
    assert code_blocks(page("docs/backfill.md"), "python") == [
        part("dags/example_jimeng_backfill.py", "howto_jimeng_backfill")
    ]
