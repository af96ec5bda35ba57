# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Python imports this at start where ``PYTHONPATH`` names its folder: crash points for a test's Airflow."""

from __future__ import annotations

import os

if os.environ.get("JIMENG_CHAOS_FOLDER"):
    import saboteur  # type: ignore[import-not-found]

    saboteur.install()
