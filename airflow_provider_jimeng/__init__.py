# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Apache Airflow provider for Volcengine Jimeng motion imitation (即梦AI 动作模仿)."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
