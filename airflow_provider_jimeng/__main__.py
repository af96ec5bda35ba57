# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``python -m airflow_provider_jimeng``: look after the ledger without ``airflow`` on the path."""

from __future__ import annotations

import sys

from airflow_provider_jimeng.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
