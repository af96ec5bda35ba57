# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The page on backfills shows the example as it is."""

from __future__ import annotations

from tests.docs.pages import code_blocks, page
from tests.docs.test_readme import part


def test_the_code_is_that_of_the_example_dag() -> None:
    # At the top level of a page the formatter wants one more empty line after a function.
    (shown,) = code_blocks(page("docs/backfill.md"), "python")
    assert shown.replace("\n\n\n", "\n\n") == part("dags/example_jimeng_backfill.py", "howto_jimeng_backfill")
