# Licensed under the Apache License, Version 2.0. See LICENSE.
"""An auth manager that knows users and DAGs one by one, as Airflow's simple one does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

BULK = "example_jimeng_bulk_manifest"

#: Which DAGs a user may read, or read and edit.
GRANTS: Mapping[str, Mapping[str, str]] = {
    "anna": {"dag": "edit", BULK: "edit"},
    "vera": {"dag": "read", BULK: "read"},
    "otto": {"other": "edit"},
    # Sees the DAG and its task instances, and not what they return.
    "ines": {"dag": "glance"},
}


class PerDagAuthManager(SimpleAuthManager):
    """As the simple one, but for DAGs, where :data:`GRANTS` decides for everybody who is no administrator."""

    def get_fastapi_middlewares(self) -> list[Any]:
        """Let everybody be who they are, also where the simple one lets all be administrators."""
        return []

    def is_authorized_dag(
        self,
        *,
        method: str,
        user: SimpleAuthManagerUser,
        access_entity: Any = None,
        details: Any = None,
    ) -> bool:
        if user.role == "ADMIN":
            return True
        grant = GRANTS.get(user.username, {}).get(str(details.id) if details else "")
        if grant == "glance":
            return method == "GET" and getattr(access_entity, "name", None) != "XCOM"
        return grant == "edit" or (grant == "read" and method == "GET")
