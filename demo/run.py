# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The demo: real Airflow, a local vendor, real videos; ``make demo`` runs it in an environment of its own.

A thin door to the package beside it, so that ``python demo/run.py`` works from any folder.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("demo", run_name="__main__", alter_sys=True)
