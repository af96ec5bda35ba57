# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Settings of an account whose endpoint is a test's server."""

from __future__ import annotations

from typing import Any

from airflow_provider_jimeng.api.models import Credentials, Endpoint
from airflow_provider_jimeng.client.settings import AccountSettings

SECRET = "SK-that-must-never-be-seen"
TOKEN = "STS-that-must-never-be-seen"


def settings_for(origin: str, **changes: Any) -> AccountSettings:
    """Return patient-enough settings with a rate limit that does not slow a test down."""
    values: dict[str, Any] = {
        "conn_id": "test",
        "account": "acme",
        "credentials": Credentials("AKtest", SECRET, TOKEN),
        "endpoint": Endpoint(origin=origin),
        "connect_timeout": 5.0,
        "read_timeout": 5.0,
        "submit_deadline": 5.0,
        "submit_qps": 10_000.0,
        "query_qps": 10_000.0,
    }
    return AccountSettings(**(values | changes))
