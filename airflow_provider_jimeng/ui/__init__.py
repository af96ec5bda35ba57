# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The *Jimeng* tab in Airflow's own pages: how far a run is, its results, and what a person has to decide.

Every process of Airflow imports :mod:`.plugin`, which loads nothing; the rest is for the api-server.
"""

from __future__ import annotations
