# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The commands: ``python -m airflow_provider_jimeng ...`` and, from Airflow 3.2 on, ``airflow jimeng ...``.

They are declared once (:mod:`.spec`), for both. Nothing but ``__main__`` imports this package.
"""

from __future__ import annotations
