# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Who gets which answer: every route asks Airflow's auth manager, for the DAG in its path."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi.routing import APIRoute

from airflow_provider_jimeng.exceptions import JimengLedgerError
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ui.access import ACTION_HEADER
from airflow_provider_jimeng.ui.app import make_app

from tests.ui.rows import DAG, RUN, Rows, video
from tests.ui.site import application, token_of

if TYPE_CHECKING:
    from tests.ui.auth import PerDagAuthManager

HOST = "http://airflow.example"
OWN = {ACTION_HEADER: "1", "Origin": HOST, "Sec-Fetch-Site": "same-origin"}
Client = Callable[..., httpx.AsyncClient]


@pytest.fixture
def client(manager: PerDagAuthManager, rows: Rows) -> Client:
    """Return what makes a browser of a user (``None``: of nobody), signed in by cookie."""
    assert rows.bench.ledger.uuid
    root = application(rows.bench.url, [])

    def make(name: str | None, **headers: str) -> httpx.AsyncClient:
        cookies = {} if name is None else {"_token": token_of(manager, name)}
        transport = httpx.ASGITransport(app=root, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=HOST, cookies=cookies, headers=headers)

    return make


def paths(row: int, dag: str = DAG) -> list[tuple[str, str]]:
    """Return a request for each route of the application."""
    api = f"/jimeng/api/dags/{dag}"
    return [
        ("GET", f"/jimeng/view/{dag}/{RUN}"),
        ("GET", f"{api}/progress?run_id={RUN}&task=imitate"),
        ("GET", f"{api}/items?run_id={RUN}&task=imitate"),
        ("GET", f"{api}/results/{row}?run_id={RUN}"),
        ("POST", f"{api}/unknowns/{row}/release"),
        ("POST", f"{api}/unknowns/{row}/adopt"),
    ]


async def statuses(browser: httpx.AsyncClient, row: int, dag: str = DAG, **headers: str) -> list[int]:
    found = []
    async with browser:
        for method, path in paths(row, dag):
            json = {"revision": 1, "reason": "because", **({"task_id": "7"} if "adopt" in path else {})}
            answer = await browser.request(
                method,
                path.replace("+", "%2B"),
                headers={**OWN, **headers},
                json=json if method == "POST" else None,
            )
            found.append(answer.status_code)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
    return found


def test_each_route_is_asked_for_below():
    routes = [each for each in make_app().app.routes if isinstance(each, APIRoute)]
    assert len(routes) == len(paths(1))
    assert len(make_app().app.routes) == len(routes), "a route that FastAPI adds by itself asks nobody"


async def test_nobody_sees_anything(client: Client):
    assert await statuses(client(None), 1) == [401] * 6
    assert await statuses(client(None, Authorization="Bearer abc"), 1) == [403] * 6


async def test_who_may_edit_another_dag_sees_nothing_of_this_one(client: Client, rows: Rows):
    row = rows.landed("a.mp4", video())
    assert await statuses(client("otto"), row.id) == [403] * 6


async def test_who_may_read_the_dag_sees_and_changes_nothing(client: Client, rows: Rows):
    row = rows.landed("a.mp4", video())
    assert await statuses(client("vera"), row.id) == [200, 200, 200, 200, 403, 403]


async def test_who_may_not_see_what_tasks_return_is_shown_no_results(client: Client, rows: Rows):
    row = rows.landed("a.mp4", video())
    assert await statuses(client("ines"), row.id) == [200, 200, 200, 403, 403, 403]


async def test_who_may_edit_the_dag_may_change(client: Client, rows: Rows):
    row = rows.landed("a.mp4", video())
    # Nothing to decide about a landed row.
    assert await statuses(client("anna"), row.id) == [200, 200, 200, 200, 409, 409]


async def test_the_placeholder_for_any_dag_is_no_dag(client: Client, rows: Rows):
    rows.landed("a.mp4", video())
    assert await statuses(client("anna"), 1, dag="~") == [404] * 6


async def test_rows_of_another_dag_are_not_there_whatever_the_run_is_called(client: Client, rows: Rows):
    other = Rows(rows.bench.url, rows.folder / "other", dag="other")
    landed, unknown = other.landed("b.mp4", video()), other.unknown(ago=4000)
    async with client("anna") as browser:
        path = f"/jimeng/api/dags/{DAG}"
        run = {"run_id": RUN, "task": "imitate"}
        assert (await browser.get(f"{path}/results/{landed.id}", params=run)).status_code == 404
        assert (await browser.get(f"{path}/items", params=run)).json()["items"] == []
        told = (await browser.get(f"{path}/progress", params=run)).json()
        assert (told["counts"], told["unknowns"], told["slots"]) == ({"waiting": 0}, [], [])
        body = {"revision": unknown.revision, "reason": "because", "task_id": "77"}
        for action in ("release", "adopt"):
            wanted = {key: body[key] for key in body if action == "adopt" or key != "task_id"}
            answer = await browser.post(f"{path}/unknowns/{unknown.id}/{action}", json=wanted, headers=OWN)
            assert (answer.status_code, "other" in answer.text) == (404, False)
    assert other.bench.now(unknown) == unknown


async def test_a_result_of_another_run_is_not_this_runs(client: Client, rows: Rows):
    other = Rows(rows.bench.url, rows.folder / "other", run="other")
    landed = other.landed("b.mp4", video())
    async with client("anna") as browser:
        path = f"/jimeng/api/dags/{DAG}/results/{landed.id}"
        assert (await browser.get(path, params={"run_id": RUN})).status_code == 404
        assert (await browser.get(path, params={"run_id": "other"})).status_code == 200
        assert (
            await browser.get(f"/jimeng/api/dags/{DAG}/results/999", params={"run_id": RUN})
        ).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {ACTION_HEADER: ""},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "null"},
    ],
)
async def test_a_strangers_page_changes_nothing(client: Client, rows: Rows, headers: dict[str, str]):
    row = rows.unknown(ago=4000)
    async with client("anna") as browser:
        answer = await browser.post(
            f"/jimeng/api/dags/{DAG}/unknowns/{row.id}/release",
            json={"revision": row.revision, "reason": "because"},
            headers={**OWN, **headers},
        )
    assert answer.status_code == 403
    assert rows.bench.now(row) == row


async def test_a_form_changes_nothing(client: Client, rows: Rows):
    row = rows.unknown(ago=4000)
    path = f"/jimeng/api/dags/{DAG}/unknowns/{row.id}/release"
    body = f'{{"revision": {row.revision}, "reason": "because"}}'
    async with client("anna") as browser:
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            answer = await browser.post(path, content=body, headers={**OWN, "Content-Type": kind})
            assert answer.status_code in (415, 422)
        bare = await browser.post(path, json={"revision": row.revision, "reason": "because"})
        assert bare.status_code == 403, "a browser tells where a request comes from"
    assert rows.bench.now(row) == row


async def test_a_proxy_that_renames_the_host_is_told_by_the_base_url(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.studio.example/flow")
    row = rows.unknown(ago=4000)
    async with client("anna") as browser:
        answer = await browser.post(
            f"/jimeng/api/dags/{DAG}/unknowns/{row.id}/release",
            json={"revision": row.revision, "reason": "because"},
            headers={**OWN, "Origin": "https://airflow.studio.example"},
        )
    assert answer.status_code == 200


async def test_a_token_in_the_header_needs_no_page(client: Client, rows: Rows, manager: PerDagAuthManager):
    row = rows.unknown(ago=4000)
    async with client(None, Authorization=f"Bearer {token_of(manager, 'anna')}") as browser:
        answer = await browser.post(
            f"/jimeng/api/dags/{DAG}/unknowns/{row.id}/release",
            json={"revision": row.revision, "reason": "because"},
        )
    assert (answer.status_code, rows.bench.now(row).state) == (200, TaskState.RELEASED)


@pytest.mark.parametrize(
    "body", [{"revision": 1}, {"revision": 1, "reason": " a "}, {"reason": "because"}, []]
)
async def test_a_change_wants_a_reason(client: Client, rows: Rows, body: Any):
    row = rows.unknown(ago=4000)
    async with client("anna") as browser:
        path = f"/jimeng/api/dags/{DAG}/unknowns/{row.id}/release"
        assert (await browser.post(path, json=body, headers=OWN)).status_code == 422
    assert rows.bench.now(row) == row


async def test_a_result_is_streamed_with_ranges_and_asked_for_anew_each_time(client: Client, rows: Rows):
    body = video()
    row = rows.landed("a.mp4", body)
    path = f"/jimeng/api/dags/{DAG}/results/{row.id}"
    async with client("vera") as browser:

        async def get(method: str = "GET", **headers: str) -> httpx.Response:
            return await browser.request(method, path, params={"run_id": RUN}, headers=headers)

        whole, part = await get(), await get(Range="bytes=4-7")
        assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, body, "video/mp4")
        assert whole.headers["cache-control"] == "private, no-cache"
        assert (part.status_code, part.content) == (206, b"ftyp")
        assert part.headers["content-range"] == f"bytes 4-7/{len(body)}"
        assert (await get(Range=f"bytes={len(body)}-")).status_code == 416
        etag = whole.headers["etag"]
        assert (await get(**{"If-None-Match": etag})).status_code == 304
        assert (await get(Range="bytes=0-1", **{"If-Range": '"old"'})).status_code == 200
        head = await get("HEAD", Range="bytes=0-9")
        assert (head.status_code, head.content, head.headers["content-length"]) == (206, b"", "10")


async def test_a_result_without_a_landing_or_without_its_file_is_told(client: Client, rows: Rows):
    running, landed = rows.submitted(), rows.landed("a.mp4", video())
    (rows.folder / "a.mp4").unlink()
    async with client("vera") as browser:
        for row in (running, landed):
            answer = await browser.get(f"/jimeng/api/dags/{DAG}/results/{row.id}", params={"run_id": RUN})
            assert answer.status_code == 404
            assert str(rows.folder) not in answer.text


async def test_no_path_comes_from_the_browser(client: Client, rows: Rows):
    rows.landed("a.mp4", video())
    async with client("anna") as browser:
        for record in ("..%2F..%2Fetc%2Fpasswd", "/etc/passwd", "1e3", "0x1"):
            answer = await browser.get(
                f"/jimeng/api/dags/{DAG}/results/{record}", params={"run_id": RUN, "uri": "/etc/passwd"}
            )
            assert answer.status_code in (404, 422)


async def test_hostile_names_stay_text_in_the_page(client: Client):
    hostile = "</script><script>alert(1)</script>\u2028"
    async with client("anna") as browser:
        answer = await browser.get(f"/jimeng/view/{DAG}/{hostile}", params={"task_id": hostile})
    assert answer.status_code == 200
    assert "alert(1)</script>" not in answer.text
    assert "\\u003c/script\\u003e" in answer.text
    assert answer.text.count("<script") == 2
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


async def test_a_question_in_bad_form_is_told(client: Client):
    async with client("anna") as browser:
        answer = await browser.get(f"/jimeng/api/dags/{DAG}/progress", params={"run_id": RUN, "task": "a b"})
    assert (answer.status_code, "task:" in answer.json()["detail"]) == (422, True)


async def test_a_ledger_that_is_not_there_is_said_so_in_plain_words(
    manager: PerDagAuthManager, tmp_path: Any
):
    root = application(f"sqlite:///{tmp_path}/none.db", [])
    cookies = {"_token": token_of(manager, "anna")}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=root), base_url=HOST, cookies=cookies
    ) as browser:
        answer = await browser.get(f"/jimeng/api/dags/{DAG}/progress", params={"run_id": RUN})
    assert answer.status_code == 503
    assert "There is no ledger at" in answer.json()["detail"]
    assert "the api-server on" in answer.json()["detail"]
    assert not (tmp_path / "none.db").exists()


async def test_a_ledger_that_fails_in_between_is_told(
    client: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: Any, **__: Any) -> None:
        raise JimengLedgerError("The ledger can't be read. Check the database")

    monkeypatch.setattr("airflow_provider_jimeng.ledger.admin.LedgerAdmin.run_view", fail)
    async with client("anna") as browser:
        answer = await browser.get(f"/jimeng/api/dags/{DAG}/progress", params={"run_id": RUN})
    assert (answer.status_code, "can't be read" in answer.json()["detail"]) == (503, True)
