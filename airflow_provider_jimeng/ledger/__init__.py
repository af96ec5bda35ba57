# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The durable truth about what was asked for, paid for and landed.

This package loads SQLAlchemy only through :mod:`~airflow_provider_jimeng.ledger.store`: keys, records and
states are plain values.
"""

from __future__ import annotations
