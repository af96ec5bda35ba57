# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The application behind the tab, for Airflow's api-server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, StringConstraints

from airflow_provider_jimeng.exceptions import JimengError, JimengInputError
from airflow_provider_jimeng.ledger.records import LostRace
from airflow_provider_jimeng.ui import decisions, gallery, media
from airflow_provider_jimeng.ui.access import ACTION_HEADER, editor, may_edit, name_of, player, reader
from airflow_provider_jimeng.ui.desk import NoBooks, open_desk
from airflow_provider_jimeng.ui.headers import GuardedApp
from airflow_provider_jimeng.ui.progress import progress
from airflow_provider_jimeng.ui.request import Asked, WrongQuestion
from airflow_provider_jimeng.ui.snapshots import Snapshots
from airflow_provider_jimeng.ui.view import page, policy

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from airflow_provider_jimeng.ui.desk import Desk

__all__ = ["make_app"]

_NOTHING = "There is no such result."
_Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=500)]
_Tasks = Annotated[Sequence[str], Query(max_length=200)]
_NO_TASKS: Sequence[str] = ()
_Reader = Annotated[Any, Depends(reader)]
_Editor = Annotated[Any, Depends(editor)]


class ReleaseBody(BaseModel):
    """What a release says."""

    model_config = ConfigDict(extra="forbid")
    revision: int
    reason: _Reason


class AdoptBody(ReleaseBody):
    """What an adoption says."""

    task_id: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


def make_app() -> GuardedApp:
    """Return the application; each of its routes asks Airflow's auth manager."""
    app = FastAPI(title="Jimeng", docs_url=None, redoc_url=None, openapi_url=None)
    snapshots = Snapshots()
    app.state.open_desk = open_desk
    _add_views(app, snapshots)
    _add_results(app)
    _add_decisions(app, snapshots)
    _add_handlers(app)
    return GuardedApp(app)


def _desk(request: Request) -> Desk:
    desk: Desk = request.app.state.open_desk()
    return desk


def _add_views(app: FastAPI, snapshots: Snapshots) -> None:
    @app.get("/view/{dag_id}/{run_id:path}", response_class=HTMLResponse)
    def view(
        request: Request,
        dag_id: str,
        run_id: str,
        user: _Reader,
        task_id: str | None = None,
        map_index: str | None = None,
    ) -> Response:
        about = {
            "dag_id": dag_id,
            "run_id": run_id,
            "task_id": task_id,
            # Airflow leaves the placeholder as it is where a task is not mapped.
            "map_index": int(map_index) if map_index is not None and map_index.isdecimal() else -1,
            "can_edit": may_edit(request, user),
            "user": str(user.get_name()),
            "action_header": ACTION_HEADER,
        }
        return HTMLResponse(page(about), headers={"content-security-policy": policy()})

    @app.get("/api/dags/{dag_id}/progress")
    def run_progress(
        request: Request, dag_id: str, run_id: str, user: _Reader, task: _Tasks = _NO_TASKS
    ) -> JSONResponse:
        desk, asked = _desk(request), Asked.of(dag_id, run_id, task)
        found = snapshots.get(
            (desk.place, asked),
            lambda: {**progress(desk.admin, asked), **decisions.unknowns(desk.admin, asked)},
        )
        ledger = {"place": desk.place, "local": desk.local, "host": desk.host}
        return JSONResponse({**found, "ledger": ledger, "can_edit": may_edit(request, user)})

    @app.get("/api/dags/{dag_id}/items", dependencies=[Depends(reader)])
    def run_items(
        request: Request,
        dag_id: str,
        run_id: str,
        task: _Tasks = _NO_TASKS,
        shown: Literal["landed", "running", "trouble"] = "landed",
        before: int | None = None,
    ) -> JSONResponse:
        asked = Asked.of(dag_id, run_id, task)
        return JSONResponse(gallery.items(_desk(request).admin, asked, shown, before))


def _add_results(app: FastAPI) -> None:
    @app.api_route(
        "/api/dags/{dag_id}/results/{record_id}", methods=["GET", "HEAD"], dependencies=[Depends(player)]
    )
    def result(request: Request, dag_id: str, record_id: int, run_id: str) -> Response:
        admin = _desk(request).admin
        row = admin.get(record_id)
        if row is None or not Asked.of(dag_id, run_id, ()).covers(row):
            raise media.NoResult(_NOTHING)
        landings = gallery.own_landings(admin.landings_of([row]).get((row.content_key, row.attempt), ()))
        trouble = media.NoResult(_NOTHING)
        for landing in landings:
            try:
                return _streamed(request, media.open_result(landing), f'"{landing.sha256}"')
            except media.NoResult as error:
                trouble = error
        raise trouble


def _streamed(request: Request, found: media.Media, etag: str) -> Response:
    # Always asked for anew: the permission may be gone by then.
    headers = {"etag": etag, "accept-ranges": "bytes", "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == etag:
        found.close()
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range")
    if request.headers.get("if-range", etag) != etag:
        wanted = None
    part = media.part_of(wanted, found.size)
    if part is None:
        found.close()
        return Response(status_code=416, headers={**headers, "content-range": f"bytes */{found.size}"})
    headers["content-length"] = str(part.length)
    if not part.whole:
        headers["content-range"] = f"bytes {part.first}-{part.last}/{found.size}"
    status = 200 if part.whole else 206
    if request.method == "HEAD":
        found.close()
        return Response(status_code=status, headers=headers, media_type=found.kind)
    return _MediaResponse(found, part, status, headers)


class _MediaResponse(StreamingResponse):
    """Sends a part of a result, and closes its file also where the browser wants no more, or never began."""

    def __init__(self, found: media.Media, part: media.Part, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(found.read(part), status_code=status, headers=headers, media_type=found.kind)
        self._found = found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._found.close()


def _add_decisions(app: FastAPI, snapshots: Snapshots) -> None:
    @app.post("/api/dags/{dag_id}/unknowns/{record_id}/release")
    def release(
        request: Request, dag_id: str, record_id: int, body: ReleaseBody, user: _Editor
    ) -> JSONResponse:
        done = decisions.release(
            _desk(request).admin,
            dag_id,
            record_id,
            revision=body.revision,
            reason=body.reason,
            by=name_of(user),
        )
        snapshots.forget()
        return JSONResponse(done)

    @app.post("/api/dags/{dag_id}/unknowns/{record_id}/adopt")
    def adopt(request: Request, dag_id: str, record_id: int, body: AdoptBody, user: _Editor) -> JSONResponse:
        done = decisions.adopt(
            _desk(request).admin,
            dag_id,
            record_id,
            revision=body.revision,
            task_id=body.task_id,
            reason=body.reason,
            by=name_of(user),
        )
        snapshots.forget()
        return JSONResponse(done)


#: Which status an error is, and what of it is told; the first that fits.
_ERRORS: tuple[tuple[type[Exception], int], ...] = (
    (decisions.NotOfThisDag, 404),
    (media.NoResult, 404),
    (WrongQuestion, 422),
    (JimengInputError, 422),
    (LostRace, 409),
    (NoBooks, 503),
    (JimengError, 503),
)


def _add_handlers(app: FastAPI) -> None:
    for kind, status in _ERRORS:
        app.add_exception_handler(kind, _handler(status))


def _handler(status: int) -> Any:
    def handle(_request: Request, error: Exception) -> JSONResponse:
        words = str(error) or "This DAG has no such row."
        return JSONResponse({"detail": words}, status_code=status)

    return handle
