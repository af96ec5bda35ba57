# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The sliding window: every line gets its fate, every content is paid once, and no slot is exceeded."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_jimeng.bulk import submits
from airflow_provider_jimeng.bulk.items import BadLine, Fate, Outcome, Problem
from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig
from airflow_provider_jimeng.exceptions import JimengSpendLimitError
from airflow_provider_jimeng.ledger import engine
from airflow_provider_jimeng.ledger.records import Provenance
from airflow_provider_jimeng.lifecycle.ensured import InHand, Waiting
from airflow_provider_jimeng.lifecycle.wanted import Policies
from airflow_provider_jimeng.policy import slots

from tests.bulk.kit import Works, items, outcomes, place


@pytest.fixture
def emu() -> Iterator[Emulator]:
    with Emulator(EmulatorConfig(concurrency=4, duration=0.3, jitter=0.1, results="cheap")) as emulator:
        yield emulator


@pytest.fixture
def works(emu: Emulator, tmp_path: Path) -> Iterator[Works]:
    made = Works(emu, tmp_path)
    yield made
    made.ledger.close()
    engine._registry.databases.pop(f"sqlite:///{tmp_path}/ledger.db", None)


def test_sixty_items_land_once_each_within_the_slots(works: Works, emu: Emulator) -> None:
    fates = works.run(items(emu, range(60)))

    assert outcomes(fates) == {"landed": 60}
    assert [each.line for each in fates] == list(range(1, 61))
    assert len(set(works.files().values())) == len(works.files()) == 60
    assert works.accepted == 60
    assert works.most_at_once <= 4
    assert works.refused == {}
    assert all(fate.uri == str(works.out / f"{fate.id}.mp4") and fate.sha256 for fate in fates)


def test_a_run_tells_how_fast_it_goes(works: Works, emu: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    works.run(items(emu, range(8)))

    last = [line for line in caplog.messages if line.startswith("8 of 8 done")][-1]
    assert " a minute" in last


def test_a_second_run_pays_nothing_and_downloads_nothing(works: Works, emu: Emulator) -> None:
    works.run(items(emu, range(12)))
    before = works.emu.ledger()["totals"]
    again = works.run(items(emu, range(12)), "run-2")
    cleared = works.run(items(emu, range(12)), "run-1")

    assert outcomes(again) == {"reused": 12}
    assert outcomes(cleared) == {"landed": 12}
    assert works.emu.ledger()["totals"] == before


def test_a_cleared_dag_run_counts_only_what_it_paid_since(works: Works, emu: Emulator) -> None:
    works.run(items(emu, range(3)))
    cleared = works.run(items(emu, range(4)), "run-1", since=works.ledger.now())

    assert outcomes(cleared) == {"reused": 3, "landed": 1}


def test_reordered_swapped_and_grown_manifests_lose_nothing(works: Works, emu: Emulator) -> None:
    works.run(items(emu, "abcdef"))
    first = works.files()
    lines = items(emu, "abcdef")
    swapped = [
        *(
            type(each)(each.line, "ba"[each.line - 1], each.image, each.video, 0, each.req_key, {})
            for each in lines[:2]
        ),
        *reversed(lines[2:]),
        *items(emu, "abcdefgh")[6:],
    ]
    fates = works.run(swapped, "run-2")
    after = works.files()

    assert outcomes(fates) == {"reused": 6, "landed": 2}
    assert works.accepted == 8
    assert (after["a"], after["b"]) == (first["b"], first["a"])
    assert {name: after[name] for name in "cdef"} == {name: first[name] for name in "cdef"}


def test_tomorrows_manifest_in_the_same_folder_keeps_todays_results(works: Works, emu: Emulator) -> None:
    works.run(items(emu, ["today-1", "today-2"]))
    first = set(works.files().values())
    tomorrow = [replace(each, id=f"today-{each.line}") for each in items(emu, ["tomorrow-1", "tomorrow-2"])]
    works.run(tomorrow, "run-2")
    works.run(items(emu, ["today-1", "today-2"]), "run-3")

    assert set(works.files().values()) == first
    assert works.accepted == 4


def test_equal_lines_are_one_paid_task_and_two_outputs(works: Works, emu: Emulator) -> None:
    one = items(emu, "aaaabb")
    lines = [
        type(each)(each.line, f"{each.id}{each.line}", each.image, each.video, 0, each.req_key, {})
        for each in one
    ]
    fates = works.run(lines)

    assert outcomes(fates) == {"landed": 2, "reused": 4}
    assert [str(each.outcome) for each in fates if each.outcome is Outcome.LANDED] == ["landed", "landed"]
    assert works.accepted == 2
    assert len(works.files()) == 6
    assert len(set(works.files().values())) == 2


def test_retryable_verdicts_are_tried_again_and_final_ones_are_not(works: Works, emu: Emulator) -> None:
    emu.add_fault("done", "code", code=50516, match="n-1.", times=1)
    emu.add_fault("done", "code", code=50511, match="n-2.", times=0)
    emu.add_fault("done", "code", code=50518, match="n-3.", times=0)
    emu.add_fault("submit", "code", code=50411, match="n-4.", times=0)
    fates = works.run(items(emu, range(8)))

    assert outcomes(fates) == {"landed": 5, "failed": 3}
    assert fates[1].attempts == 2
    assert (fates[2].code, fates[2].attempts) == (50511, 3)
    assert (fates[3].code, fates[3].attempts) == (50518, 1)
    assert fates[4].code == 50411
    assert works.refused == {"50411": 1}


def test_an_unknown_submit_stays_unknown_and_the_others_go_on(works: Works, emu: Emulator) -> None:
    emu.add_fault("submit", "code", code=50500, created=True, match="n-2.", times=1)
    fates = works.run(items(emu, range(8)))
    again = works.run(items(emu, range(8)), "run-2")

    assert outcomes(fates) == {"landed": 7, "unknown": 1}
    assert outcomes(again) == {"reused": 7, "unknown": 1}
    assert works.accepted == 8
    assert works.paid_twice() == []


def test_a_budget_leaves_the_rest_for_the_next_run(works: Works, emu: Emulator) -> None:
    fates = works.run(items(emu, range(10)), budget=4)
    retried = works.run(items(emu, range(10)), budget=4)
    following = works.run(items(emu, range(10)), "run-2", budget=9)

    assert outcomes(fates) == {"landed": 4, "skipped": 6}
    assert outcomes(retried) == {"landed": 4, "skipped": 6}
    assert outcomes(following) == {"reused": 4, "landed": 6}
    assert works.accepted == 10


def test_a_pause_stops_submits_and_harvests_what_runs(works: Works, emu: Emulator) -> None:
    ensured = threading.Event()

    def inspect(wanted: Any) -> Any:
        if ensured.is_set():
            works.ledger.pause("account", "me", "a test")
        ensured.set()
        return wanted, None

    fates = works.run(items(emu, range(12)), tools={"inspect": inspect}, ahead=1)

    assert outcomes(fates)["skipped"] > 0
    assert outcomes(fates).get("landed", 0) == works.accepted < 12
    assert "paused" in str(fates[-1].error)


def test_refused_credentials_stop_submits_but_not_questions(works: Works, emu: Emulator) -> None:
    emu.add_fault("submit", "code", code=50400, skip=3, times=0)
    fates = works.run(items(emu, range(20)))

    assert outcomes(fates) == {"landed": 3, "skipped": 17}
    assert sum(works.refused.values()) <= 4


def test_bad_lines_and_taken_places_are_invalid_before_anything_is_paid(works: Works, emu: Emulator) -> None:
    works.out.mkdir()
    (works.out / "1.mp4").write_bytes(b"somebody's")
    bad = BadLine(4, "x", (Problem(4, "image", "is missing"),))
    fates = works.run([*items(emu, range(3)), bad])

    assert [str(each.outcome) for each in fates] == ["landed", "invalid", "landed", "invalid"]
    assert fates[3].error == "image: is missing"
    assert (works.out / "1.mp4").read_bytes() == b"somebody's"
    assert works.accepted == 2


def test_a_store_in_trouble_delays_landings_and_no_submit(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = threading.Event()
    down.set()
    usual = type(place("/"))._publish_local

    def publish(target: Any, source: Path, **how: bool) -> None:
        if down.is_set():
            raise OSError("the store is down")
        usual(target, source, **how)

    monkeypatch.setattr(type(place("/")), "_publish_local", publish)
    fates: list[Fate] = []
    run = works.prepare(items(emu, range(12)), fates)
    thread = threading.Thread(target=run.run)
    thread.start()
    while works.emu.ledger()["totals"]["succeeded"] < 12:
        threading.Event().wait(0.05)
    assert fates == []
    down.clear()
    thread.join()

    assert outcomes(fates) == {"landed": 12}
    assert works.accepted == 12


def test_results_that_no_store_takes_are_left_for_the_next_run(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def publish(target: Any, source: Path) -> None:
        raise OSError("the store is down")

    with monkeypatch.context() as patch:
        patch.setattr(type(place("/")), "_publish_local", publish)
        fates = works.run(items(emu, range(2)), landing_patience=0.2)
    assert outcomes(fates) == {"skipped": 2}
    assert works.runs[-1].unlanded == 2

    assert outcomes(works.run(items(emu, range(2)), "run-2")) == {"reused": 2}
    assert works.accepted == 2


def test_a_result_that_was_deleted_is_copied_or_fetched_again(works: Works, emu: Emulator) -> None:
    works.run(items(emu, range(3)))
    (works.out / "0.mp4").unlink()
    (works.out / "1.mp4").unlink()
    next(works.out.glob(f".jimeng/{_key(works, 1)}-*.mp4")).unlink()
    fates = works.run(items(emu, range(3)), "run-2")

    assert outcomes(fates) == {"reused": 3}
    assert len(works.files()) == 3
    assert works.accepted == 3


def _key(works: Works, name: int) -> str:
    landing = works.ledger.landing_at(str(works.out / f"{name}.mp4"))
    assert landing is not None
    return landing.content_key


def test_slots_that_are_learned_are_used(tmp_path: Path) -> None:
    # Long enough that a busy machine, too, has sent the next one before the first is done.
    with Emulator(EmulatorConfig(concurrency=4, duration=1.5, jitter=0.1, results="cheap")) as emu:
        works = Works(emu, tmp_path, max_concurrency=None)
        began = time.monotonic()
        fates = works.run(items(emu, range(16)))
        took = time.monotonic() - began

        assert outcomes(fates) == {"landed": 16}
        assert works.most_at_once == 4
        # Each refusal makes all wait for a cool-down, so what is slow may meet more of them.
        assert sum(works.refused.values()) <= 2 + took / slots.COOL_DOWN_SECONDS
        works.ledger.close()


def test_max_in_flight_is_kept(works: Works, emu: Emulator) -> None:
    works.run(items(emu, range(8)), max_in_flight=2)

    assert works.most_at_once == 2


def test_what_others_have_at_the_vendor_is_none_of_max_in_flight(works: Works, emu: Emulator) -> None:
    emu.configure(duration=3600.0)
    lines = items(emu, range(6))
    works.leg(lines, [], run_id="run-1", max_in_flight=2)
    left = works.leg(lines, [], run_id="run-2", max_in_flight=2)

    assert works.accepted == 4
    assert left is not None
    assert len(left.open) == 4


def test_two_runs_share_the_slots_fairly(works: Works, emu: Emulator) -> None:
    fates: dict[str, list[Fate]] = {"a": [], "b": []}
    runs = [
        works.prepare(items(emu, [f"{name}{each}" for each in range(20)]), fates[name], name)
        for name in fates
    ]
    threads = [threading.Thread(target=each.run) for each in runs]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert [outcomes(each) for each in fates.values()] == [{"landed": 20}] * 2
    assert works.most_at_once <= 4
    assert works.refused == {}
    order = [str(each).partition("/n-")[2][0] for each in works.emu.ledger()["tasks"].values()]
    assert 5 <= order[:20].count("a") <= 15


def test_a_passed_deadline_submits_nothing(works: Works, emu: Emulator) -> None:
    assert outcomes(works.run(items(emu, range(3)), deadline=1.0)) == {"skipped": 3}
    assert works.accepted == 0


def test_unknown_submits_are_paid_again_only_where_that_was_chosen(works: Works, emu: Emulator) -> None:
    works.policies = Policies(on_unknown_submit="resubmit")
    works.settings = replace(works.settings, submit_deadline=0.5)
    emu.add_fault("submit", "code", code=50500, created=True, match="n-1.", times=1)
    fates = works.run(items(emu, range(3)))

    assert outcomes(fates) == {"landed": 3}
    assert works.accepted == 4


def test_a_breaker_that_others_opened_is_waited_out(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "BREAKER_SECONDS", 0.8)
    monkeypatch.setattr(submits, "_BREAKER_LOOK_SECONDS", 0.1)
    lines = items(emu, range(6))
    scope = works.settings.scope(lines[0].req_key)
    for _ in range(3):
        works.ledger.note_misconfigured(scope, reason="the key may not do this")
    fates = works.run(lines)

    assert outcomes(fates) == {"landed": 6}
    assert works.accepted == 6


def test_a_breaker_that_stays_open_stops_the_submits_and_says_why(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submits, "_BREAKER_PATIENCE_SECONDS", 0.0)
    lines = items(emu, range(3))
    works.ledger.trip_breaker(works.settings.scope(lines[0].req_key), "the key may not do this")
    fates = works.run(lines)

    assert outcomes(fates) == {"skipped": 3}
    assert "the key may not do this" in str(fates[0].error)
    assert works.accepted == 0


def test_a_breaker_that_opens_again_is_waited_out_anew(
    works: Works, emu: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submits, "_BREAKER_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(submits, "_BREAKER_PATIENCE_SECONDS", 0.5)
    usual = works.tools([], Provenance("dag", "run-1", "batch")).ensure
    told: list[str] = []

    def ensure(wanted: Any, **more: Any) -> Any:
        told.append("breaker" if len(told) in (0, 2) else "slots")
        if told[-1] == "breaker":
            raise JimengSpendLimitError("the breaker is open").because("breaker")
        if len(told) == 2:
            # Whoever may wait for a slot was not kept out by a breaker.
            time.sleep(0.7)
            return Waiting("slots", 99, limit=1, in_use=1)
        return usual(wanted, **more)

    assert outcomes(works.run(items(emu, "a"), tools={"ensure": ensure})) == {"landed": 1}


def test_what_the_vendor_refuses_is_kept_without_its_request(works: Works, emu: Emulator) -> None:
    """A manifest may hold a hundred thousand such lines, and each body presigned URLs."""
    emu.add_fault("submit:50411,times=0")
    fates: list[Fate] = []
    made = works.prepare(items(emu, range(3)), fates)
    made.run()

    assert outcomes(fates) == {"failed": 3}
    kept = list(made._submits.refused.values())
    assert len(kept) == 3
    for error in kept:
        assert error.__traceback__ is None
        assert (error.__cause__, error.__context__) == (None, None)


def test_a_vendor_that_gives_two_contents_one_id_does_not_hold_a_run_up(works: Works, emu: Emulator) -> None:
    emu.configure(duration=0.5)
    usual, ids = works.tools([], Provenance("dag", "run-1", "batch")).ensure, []

    def ensure(wanted: Any, **more: Any) -> Any:
        got = usual(wanted, **more)
        if isinstance(got, InHand):
            ids.append(got.record.task_id)
            got = replace(got, record=replace(got.record, task_id=ids[0]))
        return got

    fates = works.run(items(emu, "ab"), tools={"ensure": ensure})
    assert sorted(str(each.outcome) for each in fates) == ["landed", "unknown"]
    assert "can't be told" in next(str(each.error) for each in fates if each.outcome == "unknown")
    assert works.accepted == 2


def test_a_slot_whose_task_somebody_else_saw_over_is_filled(works: Works, emu: Emulator) -> None:
    emu.configure(duration=0.2)
    works.settings = replace(works.settings, max_concurrency=1)
    usual = works.tools([], Provenance("dag", "run-1", "batch")).ensure
    seen: list[str | None] = []

    def ensure(wanted: Any, **more: Any) -> Any:
        got = usual(wanted, **more)
        if isinstance(got, InHand) and not seen:
            seen.append(got.record.task_id)
            # Another run's claim asked about it, while the answer to this one's write was away.
            time.sleep(0.5)
            got = replace(got, record=works.ledger.record_succeeded(got.record))
        return got

    fates = works.run(items(emu, "abc"), tools={"ensure": ensure}, deadline=time.time() + 30.0)
    assert outcomes(fates) == {"landed": 3}
    assert works.accepted == 3


def test_what_no_line_asks_for_any_more_is_brought_home_and_never_tried_again(
    works: Works, emu: Emulator
) -> None:
    emu.add_fault("done", "code", code=50516, match="n-b.", times=0)
    emu.configure(duration=3600.0)
    left = works.leg(items(emu, "ab"), [])
    emu.advance(7200.0)
    assert left is not None
    assert len(left.open) == works.accepted == 2
    run = works.prepare([], [], whole=True, poll_interval=0.1)
    assert run.run() is None

    ended, stored = sorted(run.strays.told, key=lambda each: each.uri or "")
    assert (ended.uri, bool(ended.error)) == (None, True)
    assert stored.uri == str(next(works.out.glob(".jimeng/*.mp4")))
    assert {ended.task_id, stored.task_id} == {each.task_id for each in left.open}
    assert works.accepted == 2
