# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Many tasks as one run: a manifest in, a sliding window over it, a report out. Knows nothing of Airflow."""

from __future__ import annotations
