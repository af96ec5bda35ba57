# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What a release leaves behind for the next one: rows in Airflow's database, XComs, reports, a ledger.

``python -m tests.golden`` makes the set of the version at hand; ``tests/upgrades`` loads every set.
"""
