# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``python -m airflow_provider_jimeng.emulator``: the local vendor as a command."""

from __future__ import annotations

import sys

from airflow_provider_jimeng.emulator.command import main

if __name__ == "__main__":
    sys.exit(main())
