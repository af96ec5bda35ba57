# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the page says of a run is what the ledger and the run's own report say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_jimeng.api.codes import RULES, Family
from airflow_provider_jimeng.exceptions import JimengInputError
from airflow_provider_jimeng.ledger.admin import LedgerAdmin
from airflow_provider_jimeng.ledger.states import TaskState
from airflow_provider_jimeng.ui.advice import what_to_do
from airflow_provider_jimeng.ui.gallery import PAGE, items, own_landings
from airflow_provider_jimeng.ui.progress import progress
from airflow_provider_jimeng.ui.reports import reports_of
from airflow_provider_jimeng.ui.request import Asked
from airflow_provider_jimeng.ui.snapshots import Snapshots

from tests.ui.rows import DAG, RUN, Rows, video

ASKED = Asked.of(DAG, RUN, ["imitate"])


def told(rows: Rows) -> dict[str, Any]:
    assert rows.bench.ledger.uuid
    found = progress(LedgerAdmin(rows.bench.url), ASKED)
    json.dumps(found, allow_nan=False)
    return found


def test_a_run_without_a_report_is_counted_from_the_ledger(rows: Rows):
    rows.landed("a.mp4", video())
    rows.submitted()
    rows.unknown()
    rows.failed(50411, "Pre Img Risk Not Pass")

    found = told(rows)

    assert found["counts"] == {"running": 1, "landed": 1, "failed": 1, "unknown": 1, "waiting": 0}
    assert (found["total"], found["submits"], found["possibly_billed"]) == (None, 3, 1)
    assert found["slots"][0]["in_use"] == 2
    assert found["timeline"]["top"] == 40


def test_the_report_tells_how_many_there_are_and_what_never_came_to_the_ledger(rows: Rows):
    for number in range(3):
        rows.landed(f"{number}.mp4", video())
    rows.submitted()
    rows.summary(total=20, landed=2, reused=4, invalid=1)

    found = told(rows)

    assert found["counts"] == {"running": 1, "landed": 3, "invalid": 1, "reused": 4, "waiting": 11}
    assert (found["total"], found["complete"]) == (20, False)
    assert found["rate"] > 0
    assert found["seconds_left"] == pytest.approx(12 / found["rate"])
    assert found["folders"] == [str(rows.folder)]


def test_a_run_that_was_cleared_does_not_count_its_own_results_twice(rows: Rows):
    for number in range(3):
        rows.landed(f"{number}.mp4", video())
    rows.summary(total=4, reused=3)

    assert told(rows)["counts"] == {"landed": 3, "reused": 1, "waiting": 0}


def test_a_finished_run_is_as_its_report_says(rows: Rows):
    rows.landed("a.mp4", video())
    released = rows.unknown(ago=4000)
    rows.unknown(ago=4000)
    rows.summary(total=5, landed=1, reused=1, invalid=1, unknown=2, complete=True)
    rows.bench.ledger.release(released.id, reason="test", by="me")

    found = told(rows)

    assert found["counts"] == {
        "landed": 1,
        "reused": 1,
        "invalid": 1,
        "unknown": 1,
        "released": 1,
        "waiting": 0,
    }
    assert (found["total"], found["complete"], found["seconds_left"]) == (5, True, None)


def test_why_lines_are_invalid_comes_from_the_report(rows: Rows):
    rows.landed("a.mp4", video())
    rows.summary(total=4, landed=1, invalid=3, complete=True)
    lines = [
        {"id": "a", "outcome": "landed", "error": None, "note": '"invalid"'},
        *({"id": str(at), "outcome": "invalid", "error": "image: 404"} for at in range(2)),
        {"id": "c", "outcome": "invalid", "error": "video: no URL"},
    ]
    (rows.folder / "report.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))

    errors = told(rows)["errors"]

    assert [(each["outcome"], each["message"], each["count"]) for each in errors] == [
        ("invalid", "image: 404", 2),
        ("invalid", "video: no URL", 1),
    ]


@pytest.mark.parametrize(
    "run",
    [
        None,
        {"dag_id": "other", "run_id": RUN, "task_id": "imitate", "map_index": -1},
        {"dag_id": DAG, "run_id": "yesterday", "task_id": "imitate", "map_index": -1},
        {"dag_id": DAG, "run_id": RUN, "task_id": "other", "map_index": -1},
    ],
)
def test_the_report_of_another_run_in_the_same_folder_is_not_this_runs(rows: Rows, run: Any):
    rows.landed("a.mp4", video())
    rows.summary(total=99, run=run)
    assert told(rows)["total"] is None


@pytest.mark.parametrize("text", ["", "[1]", "{", "\xff", '{"total": "many", "run": 7}'])
def test_a_report_that_is_none_is_passed_over(rows: Rows, text: str):
    rows.landed("a.mp4", video())
    rows.summary()
    (rows.folder / "summary.json").write_bytes(text.encode("latin-1"))
    assert told(rows)["total"] is None


def test_numbers_that_are_none_count_for_nothing(rows: Rows):
    rows.landed("a.mp4", video())
    rows.summary(total=True, reused="3", invalid=-1, skipped=None)
    assert told(rows)["counts"] == {"landed": 1, "waiting": 0}


@pytest.mark.parametrize("error", [JimengInputError("no"), RuntimeError("a store's own")])
def test_a_store_that_fails_takes_nothing_from_the_page(rows: Rows, error: Exception):
    rows.landed("a.mp4", video())

    def resolve(uri: str) -> Any:
        raise error

    assert reports_of(LedgerAdmin(rows.bench.url), ASKED, resolve=resolve) == []


def test_a_report_of_any_length_is_not_read_whole(rows: Rows, monkeypatch: pytest.MonkeyPatch):
    rows.landed("a.mp4", video())
    rows.summary(total=7)
    monkeypatch.setattr("airflow_provider_jimeng.ui.reports._SUMMARY_BYTES", 10)
    assert told(rows)["total"] is None


def test_every_failure_comes_with_what_to_do(rows: Rows):
    rows.failed(50411, "Pre Img Risk Not Pass")
    rows.failed(50511, "Post Img Risk Not Pass")
    rows.rejected(50430, "busy")
    rows.failed(12345, "something new")

    by_code = {each["code"]: each for each in told(rows)["errors"]}

    assert by_code[50411]["meaning"] == "the input image failed review"
    assert (by_code[50411]["cost"], by_code[50430]["cost"]) == (
        "not billed",
        "nothing was created, nothing was paid",
    )
    assert "another attempt" in by_code[50511]["advice"]
    assert "log of the task" in by_code[12345]["advice"]


def test_there_is_advice_for_each_code_and_each_state():
    for code, rule in RULES.items():
        for state in (TaskState.FAILED, TaskState.REJECTED, TaskState.UNKNOWN, TaskState.EXPIRED):
            generic = what_to_do(state, code).startswith("Read the message")
            assert generic is (
                rule.family is Family.SUCCESS and state in (TaskState.FAILED, TaskState.REJECTED)
            )


def test_a_secret_in_a_message_is_not_shown(rows: Rows):
    rows.failed(50207, "can't decode https://b.example/a.png?X-Tos-Signature=hush")
    assert "hush" not in json.dumps(told(rows))


def test_items_come_by_the_page_with_names_and_no_places(rows: Rows):
    for number in range(PAGE + 2):
        rows.landed(f"item-{number:02d}.mp4", video())
    rows.failed(50411, "risk")
    admin = LedgerAdmin(rows.bench.url)

    first = items(admin, ASKED, "landed", None)
    rest = items(admin, ASKED, "landed", first["before"])
    (failed,) = items(admin, ASKED, "trouble", None)["items"]

    assert [each["name"] for each in (*first["items"], *rest["items"])] == [
        f"item-{number:02d}.mp4" for number in reversed(range(PAGE + 2))
    ]
    assert rest["before"] is None
    assert str(rows.folder) not in json.dumps(first)
    assert (failed["playable"], failed["code"]) == (False, 50411)
    assert failed["name"].startswith("character-")


def test_a_result_goes_by_the_name_that_people_gave_it(rows: Rows):
    body = video()
    row = rows.landed(".jimeng/0123-1.mp4", body)
    for uri in (f"{rows.folder}/cat.mp4", "s3://another-dag/copy.mp4"):
        rows.bench.ledger.record_landing(row, uri=uri, size=len(body), sha256="5" * 64)
    admin = LedgerAdmin(rows.bench.url)

    (card,) = items(admin, ASKED, "landed", None)["items"]
    places = own_landings(admin.landings_of([row])[row.content_key, row.attempt])

    assert card["name"] == "cat.mp4"
    assert [each.uri for each in places] == [f"{rows.folder}/cat.mp4", f"{rows.folder}/.jimeng/0123-1.mp4"]
    assert own_landings([]) == []


def test_inputs_in_an_unforeseen_form_do_not_stop_the_page(rows: Rows):
    for inputs in ('["a"]', "{", '{"image_url": 7, "prompt": "a cat"}'):
        rows.unknown(inputs=inputs)
    shown = items(LedgerAdmin(rows.bench.url), ASKED, "trouble", None)["items"]
    assert {each["name"] for each in shown} == {f"row {each['id']}" for each in shown}


def test_an_answer_holds_for_a_moment_and_for_longer_where_it_took_long():
    now, calls = [0.0], []

    def make() -> int:
        calls.append(1)
        now[0] += cost
        return len(calls)

    snapshots, cost = Snapshots(lambda: now[0]), 0.0
    assert [snapshots.get("a", make), snapshots.get("a", make), snapshots.get("b", make)] == [1, 1, 2]
    now[0] += 2.1
    cost = 1.0
    assert snapshots.get("a", make) == 3
    now[0] += 19
    assert snapshots.get("a", make) == 3
    now[0] += 2
    assert snapshots.get("a", make) == 4
    snapshots.forget()
    assert snapshots.get("a", make) == 5
    for key in range(200):
        snapshots.get(key, make)
    assert len(snapshots._kept) == 64
