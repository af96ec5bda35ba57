# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Sample media, drawn once for all tests of the demo."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.vendor import make_sample_media


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the demo's images and template videos."""
    folder = tmp_path_factory.mktemp("demo") / "media"
    make_sample_media(folder)
    return folder
