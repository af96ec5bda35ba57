# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A faithful local vendor with faults, and the judge of what was paid.

Nothing of the product imports it; only the demo, tests and its own command do.
"""

from __future__ import annotations

from airflow_provider_jimeng.emulator.config import EmulatorConfig
from airflow_provider_jimeng.emulator.faults import Fault
from airflow_provider_jimeng.emulator.results import result_tag
from airflow_provider_jimeng.emulator.runner import Emulator

__all__ = ["Emulator", "EmulatorConfig", "Fault", "result_tag"]
