# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Who may do what: Airflow's auth manager is asked, by every route and for the DAG in the route's path.

A change must come from this product's own page besides: a cookie alone is sent along by pages of strangers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow_provider_jimeng.hooks.compat import conf

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ACTION_HEADER", "editor", "may_edit", "name_of", "own_page", "player", "reader"]

#: No form and no image can send it, and a script of another origin must ask first, which nobody allows.
ACTION_HEADER = "x-jimeng-action"

_User = Annotated[Any, Depends(get_user)]

_READ = requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE)
_PLAY = requires_access_dag("GET", DagAccessEntity.XCOM)
_EDIT = requires_access_dag("PUT")


def _one_dag(request: Request) -> None:
    # To Airflow's check it means "any DAG"; no DAG can be called so.
    if request.path_params.get("dag_id") in (None, "", "~"):
        raise HTTPException(404, "There is no such DAG.")


def reader(request: Request, user: _User) -> Any:
    """Let those pass who may see the DAG's task instances; return the user."""
    _one_dag(request)
    _READ(request, user)
    return user


def player(request: Request, user: _User) -> Any:
    """Let those pass who may see what the DAG's tasks return, as its results are named there."""
    _one_dag(request)
    _READ(request, user)
    _PLAY(request, user)
    return user


def own_page(request: Request) -> None:
    """
    Refuse a change that a page of somebody else may have sent with the user's cookie.

    What has a token in its ``Authorization`` header was sent by whoever holds that token, and no browser adds
    it by itself.
    """
    if not request.headers.get("content-type", "").lower().startswith("application/json"):
        raise HTTPException(415, "Send JSON. Nothing was changed.")
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return
    if not request.headers.get(ACTION_HEADER) or not _same_origin(request.headers):
        raise HTTPException(403, "This does not come from the Jimeng page itself. Nothing was changed.")


def _same_origin(headers: Mapping[str, str]) -> bool:
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is None:
        return False
    if site not in (None, "same-origin"):
        return False
    return origin is None or _host(origin) in _own_hosts(headers)


def _own_hosts(headers: Mapping[str, str]) -> set[str]:
    # A proxy may hand on another Host than the browser sees; then the configured address tells.
    base_url = str(conf.get("api", "base_url", fallback="") or "")
    return {headers.get("host", "").lower(), _host(base_url)} - {""}


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def editor(request: Request, user: _User, _own: Annotated[None, Depends(own_page)]) -> Any:
    """Let those pass who may edit the DAG, and ask from the page itself; return the user."""
    _one_dag(request)
    _READ(request, user)
    _EDIT(request, user)
    return user


def may_edit(request: Request, user: Any) -> bool:
    """Tell whether a user may edit the DAG in the path."""
    try:
        _EDIT(request, user)
    except HTTPException:
        return False
    return True


def name_of(user: Any) -> str:
    """Return how the ledger calls a user, in what is recorded of a change."""
    return f"{user.get_name()} in Airflow's UI"
