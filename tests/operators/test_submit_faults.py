# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What each kind of trouble at the submit costs: never a second task by itself, never a forgotten one."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.client.sync import SyncClient
from airflow_provider_jimeng.exceptions import (
    JimengClockError,
    JimengConfigurationError,
    JimengCredentialError,
    JimengError,
    JimengInputError,
    JimengLedgerError,
    JimengLedgerUnavailableError,
    JimengNoSlotError,
    JimengNotSentError,
    JimengPermissionError,
    JimengSpendLimitError,
    JimengStoppedError,
    JimengUnknownSubmitError,
)
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.ledger.store import Ledger
from airflow_provider_jimeng.lifecycle import bookkeeping, submit
from airflow_provider_jimeng.lifecycle.bookkeeping import Bookkeeper
from airflow_provider_jimeng.operators.jimeng import JimengSubmitTaskOperator
from airflow_provider_jimeng.policy import slots as slot_policy

from tests.legs import Bench, DagRun, Deferred, Instance

if TYPE_CHECKING:
    from airflow_provider_jimeng.client.settings import AccountSettings
    from airflow_provider_jimeng.ledger.records import TaskRecord

#: Answers after which nobody knows whether a task was created.
DOUBTFUL = {
    "50500": "submit:50500",
    "50501": "submit:50501",
    "html 502": "submit:html",
    "html 504": "submit:html,http_status=504",
    "empty 503": "submit:empty",
    "truncated": "submit:truncated",
    "data null": "submit:data-null",
    "reset": "submit:reset",
    "gateway internal": "submit:gateway,code=100014,name=InternalServiceError,http_status=500",
    "gateway overloaded": "submit:gateway,code=100019,name=ServiceUnavailableTemp,http_status=503",
    "redirect": "submit:redirect",
}


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what another thread does."""
    pause, end = threading.Event(), time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        pause.wait(0.02)


def run(bench: Bench, operator: str, dag_run: DagRun | None = None, **arguments: Any) -> Any:
    if operator == "submit":
        return bench.submit(dag_run, **arguments)
    return bench.imitate(dag_run, **arguments)


def tries(instance: Instance) -> int:
    return instance.ti.try_number


@pytest.mark.parametrize("created", [True, False], ids=["created", "not-created"])
@pytest.mark.parametrize("fault", DOUBTFUL.values(), ids=DOUBTFUL)
def test_an_answer_that_tells_nothing_is_unknown_and_never_sent_again(
    bench: Bench, fault: str, created: bool
) -> None:
    bench.emu.add_fault(f"{fault},created={str(created).lower()}")
    instance = bench.imitation(deferrable=False)

    with pytest.raises(JimengUnknownSubmitError) as told:
        instance.finish()
    assert isinstance(told.value, AirflowFailException), "a retry would change nothing"
    assert told.value.content_key == bench.rows()[0].content_key
    for attempt in (instance.clear(), bench.imitation(DagRun("run-2", "dag-2"))):
        with pytest.raises(JimengUnknownSubmitError):
            attempt.finish()

    assert bench.accepted == int(created)
    assert bench.emu.ledger()["totals"]["submits"] == 1
    assert bench.states() == ["unknown"]
    assert bench.rows()[0].possibly_billed


@pytest.mark.parametrize("code", [50500, 50501])
def test_the_submit_operator_ends_unknown_too(bench: Bench, code: int) -> None:
    bench.emu.add_fault(f"submit:{code},created=true")

    for dag_run in (DagRun(), DagRun(), DagRun("run-2")):
        with pytest.raises(JimengUnknownSubmitError) as told:
            bench.submit(dag_run)
    assert told.value.code == code
    assert bench.accepted == 1


def test_an_adopted_id_is_landed(bench: Bench) -> None:
    bench.emu.add_fault("submit:50500,created=true")
    with pytest.raises(JimengUnknownSubmitError):
        bench.imitate()
    (task_id,) = bench.emu.ledger()["tasks"]

    bench.ledger.adopt(bench.rows()[0].id, task_id, by="test")
    bench.imitate()
    assert Path(bench.output).exists()
    assert bench.accepted == 1


def test_a_released_unknown_is_submitted_once_more(bench: Bench) -> None:
    bench.emu.add_fault("submit:reset,created=true")
    with pytest.raises(JimengUnknownSubmitError):
        bench.imitate()

    bench.ledger.release(bench.rows()[0].id, reason="not on the bill", by="test")
    bench.imitate()
    bench.imitate(DagRun("run-2"))
    assert bench.accepted == 2
    assert bench.states() == ["released", "landed"]


@pytest.mark.parametrize("deferrable", [True, False])
def test_resubmit_waits_three_deadlines_before_it_pays_again(bench: Bench, deferrable: bool) -> None:
    bench.connect(submit_deadline=0.5)
    bench.emu.add_fault("submit:50500,created=true")
    instance = bench.imitation(deferrable=deferrable, on_unknown_submit="resubmit")

    instance.finish()
    first, second = bench.rows()
    assert (str(first.state), str(second.state)) == ("released", "landed")
    assert second.created_at - first.base >= 1.5
    assert bench.accepted == 2
    assert tries(instance) == 1


def test_resubmit_chosen_later_releases_an_earlier_unknown(bench: Bench) -> None:
    bench.connect(submit_deadline=0.3)
    bench.emu.add_fault("submit:empty")
    with pytest.raises(JimengUnknownSubmitError):
        bench.submit()

    bench.submit(DagRun("run-2"), on_unknown_submit="resubmit")
    assert bench.accepted == 1
    assert bench.states() == ["released", "submitted"]


@pytest.mark.parametrize("operator", ["submit", "imitate"])
def test_a_hanging_submit_is_unknown_within_its_deadline(bench: Bench, operator: str) -> None:
    bench.connect(submit_deadline=1, read_timeout=30)
    bench.emu.add_fault("submit:hang,created=true,seconds=20")

    began = time.monotonic()
    with pytest.raises(JimengUnknownSubmitError):
        run(bench, operator)
    assert time.monotonic() - began < 3.0
    with pytest.raises(JimengUnknownSubmitError):
        run(bench, operator)
    assert bench.accepted == 1
    assert bench.states() == ["unknown"]


def test_a_dripping_answer_does_not_outlast_the_deadline(bench: Bench) -> None:
    bench.connect(submit_deadline=1, read_timeout=30)
    bench.emu.add_fault("submit:drip,created=true,seconds=20")

    began = time.monotonic()
    with pytest.raises(JimengUnknownSubmitError):
        bench.submit()
    assert time.monotonic() - began < 3.0
    assert bench.accepted == 1


def test_a_process_stays_for_an_answer_that_is_late_and_takes_its_task(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "_LATE_SECONDS", 5.0)
    bench.connect(submit_deadline=0.6, read_timeout=30)
    bench.emu.add_fault("submit:delay,created=true,seconds=1.2")
    bench.imitate()
    assert Path(bench.output).exists()
    assert bench.accepted == 1


def test_a_process_stays_for_a_late_answer_also_where_the_ledger_was_slow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_slowly(ledger: Ledger, record: TaskRecord) -> TaskRecord:
        begun = begin(ledger, record)
        time.sleep(0.4)
        return begun

    begin = Ledger.begin_send
    monkeypatch.setattr(Ledger, "begin_send", begin_slowly)
    monkeypatch.setattr(submit, "_LATE_SECONDS", 5.0)
    bench.connect(submit_deadline=1.2, read_timeout=30)
    bench.emu.add_fault("submit:delay,created=true,seconds=1.5")
    bench.submit()
    assert bench.states() == ["submitted"]
    assert bench.accepted == 1


def test_a_late_answer_brings_its_id_into_the_ledger(bench: Bench) -> None:
    bench.connect(submit_deadline=0.6, read_timeout=30)
    bench.emu.add_fault("submit:delay,created=true,seconds=1.2")
    with pytest.raises(JimengUnknownSubmitError):
        bench.imitate()
    assert bench.states() == ["unknown"]

    until(lambda: bench.states() == ["submitted"])
    bench.imitate()
    assert Path(bench.output).exists()
    assert bench.accepted == 1


def test_a_late_answer_after_a_resubmission_is_kept_beside_it(bench: Bench) -> None:
    bench.connect(submit_deadline=0.4, read_timeout=30)
    bench.emu.add_fault("submit:delay,created=true,seconds=2.5")
    bench.submit(on_unknown_submit="resubmit")
    assert bench.accepted == 2, "that is what resubmit means"

    until(lambda: len([row for row in bench.rows() if row.task_id]) == 2)
    # Whose answer is first is chance: the row of the first submit may be without an id of its own.
    kept = {row.task_id for row in bench.rows() if row.task_id}
    assert kept == set(bench.emu.ledger()["tasks"])
    assert [row.extra for row in bench.rows()].count(True) == 1


def test_a_slow_answer_within_the_deadline_is_an_ordinary_one(bench: Bench) -> None:
    bench.emu.add_fault("submit:delay,created=true,seconds=0.8")
    bench.submit()
    assert bench.states() == ["submitted"]
    assert bench.accepted == 1


@pytest.mark.parametrize("operator", ["submit", "imitate"])
def test_a_task_id_that_is_a_number_is_kept_to_the_last_digit(bench: Bench, operator: str) -> None:
    bench.emu.add_fault("submit:task-id-number")
    result = run(bench, operator)

    assert [result["task_id"]] == list(bench.emu.ledger()["tasks"])
    assert bench.accepted == 1


REFUSALS: dict[str, tuple[str, type[JimengError]]] = {
    "50411 input image": ("submit:50411", JimengInputError),
    "50412 text": ("submit:50412", JimengInputError),
    "50207 undecodable": ("submit:50207", JimengInputError),
    "50200 parameter": ("submit:50200", JimengInputError),
    "50400 not activated": ("submit:50400,http_status=400", JimengConfigurationError),
    "wrong key": ("submit:gateway,code=100009,name=InvalidAccessKey,http_status=401", JimengCredentialError),
    "wrong signature": (
        "submit:gateway,code=100010,name=SignatureDoesNotMatch,http_status=401",
        JimengCredentialError,
    ),
    "no permission": ("submit:gateway,code=100013,name=AccessDenied,http_status=403", JimengPermissionError),
}


@pytest.mark.parametrize("operator", ["submit", "imitate"])
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_submit_ends_the_task_and_a_second_run_pays_nothing(
    bench: Bench, refusal: tuple[str, type[JimengError]], operator: str
) -> None:
    fault, kind = refusal
    bench.emu.add_fault(f"{fault},times=0")

    for number, dag_run in enumerate((DagRun(), DagRun("run-2")), start=1):
        with pytest.raises(kind) as told:
            run(bench, operator, dag_run)
        assert isinstance(told.value, AirflowFailException)
        assert told.value.request_id
        assert "othing was" in str(told.value)
        assert bench.emu.ledger()["totals"]["submits"] == number, "one send each, no retry"
    assert bench.accepted == 0
    assert set(bench.states()) == {"rejected"}


def test_a_repaired_connection_submits_after_a_401(bench: Bench) -> None:
    bench.connect(password="wrong")
    with pytest.raises(JimengCredentialError):
        bench.imitate()
    assert "unknown" not in bench.states()

    bench.connect()
    bench.imitate()
    assert bench.accepted == 1


def test_a_bad_clock_is_signed_again_once_and_then_told(bench: Bench) -> None:
    bench.emu.configure(clock_offset=3600.0)
    with pytest.raises(JimengClockError, match="clock"):
        bench.submit(retries=0)
    assert bench.refused == {"100006": 2}

    bench.emu.configure(clock_offset=0.0)
    bench.emu.add_fault("submit:gateway,code=100006,name=InvalidTimestamp,http_status=400")
    bench.submit(DagRun("run-2"))
    assert bench.accepted == 1


def test_temporary_keys_are_read_again_when_the_token_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.emu.configure(session_token="fresh-token")
    bench.connect(session_token="stale-token")
    refreshed: list[str] = []

    def rotate(hook: JimengHook) -> AccountSettings:
        bench.connect(session_token="fresh-token")
        refreshed.append(hook.volcengine_conn_id)
        return JimengHook(hook.volcengine_conn_id).settings

    monkeypatch.setattr(JimengHook, "_refreshed", rotate)
    bench.submit()
    assert refreshed == ["volcengine_default"]
    assert bench.accepted == 1


def test_a_refused_submit_of_a_task_that_is_told_to_stop_is_written_down_before_anything_is_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    refreshed: list[str] = []

    def slow(hook: JimengHook) -> None:
        refreshed.append(hook.volcengine_conn_id)

    bench.connect(login="AKLTnobody")
    monkeypatch.setattr(JimengHook, "_refreshed", slow)
    monkeypatch.setattr(JimengSubmitTaskOperator, "stopping", lambda self: bool(bench.refused))
    with pytest.raises(JimengStoppedError):
        bench.submit(retries=0)

    assert (bench.states(), bench.accepted, refreshed) == (["rejected"], 0, [])


THROTTLES = {
    "50429": "submit:50429,times=2",
    "50430": "submit:50430,times=2",
    "flow limit": "submit:gateway,code=100018,name=FlowLimitExceeded,http_status=429,times=2",
}


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("fault", THROTTLES.values(), ids=THROTTLES)
def test_a_throttled_submit_waits_and_lands(bench: Bench, fault: str, deferrable: bool) -> None:
    bench.emu.add_fault(fault)
    instance = bench.imitation(deferrable=deferrable)
    instance.finish()

    assert tries(instance) == 1, "a wait costs no retry"
    assert bench.accepted == 1
    assert sum(bench.refused.values()) == 2
    assert bench.states() == ["rejected", "rejected", "landed"]


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_slot_that_somebody_else_holds_is_waited_for(bench: Bench, deferrable: bool) -> None:
    bench.emu.configure(concurrency=1, duration=60.0)
    elsewhere = {"image_url": bench.emu.media_url("elsewhere.png"), "video_url": bench.video}
    JimengHook().unsafe_submit(MOTION_IMITATION, elsewhere)

    def end_it_once_it_was_met() -> None:
        until(lambda: "50430" in bench.refused)
        bench.emu.configure(duration=0.2)
        bench.emu.advance(60.0)

    helper = threading.Thread(target=end_it_once_it_was_met)
    helper.start()
    bench.imitate(deferrable=deferrable)
    helper.join()

    assert bench.accepted == 2
    assert 1 <= bench.refused["50430"] <= 3
    assert Path(bench.output).exists()


def test_a_waiter_takes_its_slot_soon_after_it_is_free(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.emu.configure(concurrency=1, duration=1.0)
    bench.submit()
    other = {"image_url": bench.emu.media_url("other.png")}

    instance = bench.imitation(DagRun("run-2"), **other)
    instance.finish()
    first, second = bench.emu.ledger()["tasks"].values()
    assert second["submitted_at"] - first["done_at"] < 2.0
    assert bench.refused == {}
    assert tries(instance) == 1
    assert [each["status"] for each in instance.events] == ["turn", "finished"]


def test_a_wait_for_a_slot_ends_at_its_deadline_and_keeps_its_place(bench: Bench) -> None:
    bench.connect(max_concurrency=1)
    bench.emu.configure(duration=60.0)
    bench.submit()
    waiting = bench.imitation(DagRun("run-2"), variant=1, slot_timeout=0.5, retries=1)
    with pytest.raises(JimengNoSlotError):
        waiting.finish()
    assert tries(waiting) == 2

    with pytest.raises(JimengNoSlotError):
        bench.imitate(DagRun("run-3"), variant=2, slot_timeout=0.5, retries=0, deferrable=False)
    assert bench.accepted == 1
    assert bench.refused == {}


def test_an_endpoint_that_is_down_costs_nothing_and_is_retried(bench: Bench) -> None:
    bench.connect(host="http://127.0.0.1:9")
    instance = bench.imitation(retries=2)
    with pytest.raises(JimengNotSentError):
        instance.finish()

    assert tries(instance) == 3
    assert set(bench.states()) == {"rejected"}


def test_an_owner_that_was_suspended_past_its_deadline_sends_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count(step=100.0)
    monkeypatch.setattr(submit.Submitter, "__init__", _with_clock(lambda: next(ticks)))
    with pytest.raises(JimengNotSentError, match="stood still"):
        bench.submit(retries=0)
    monkeypatch.undo()
    assert set(bench.states()) == {"rejected"}
    assert bench.emu.ledger()["totals"]["submits"] == 0


def test_a_claim_that_came_too_late_to_be_sent_is_made_again_in_the_same_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A process that stood still in the middle of a move kept the ledger's locks from this one for so long.
    ticks = iter([0.0, 100.0])
    monkeypatch.setattr(submit.Submitter, "__init__", _with_clock(lambda: next(ticks, 100.0)))
    bench.submit(retries=0)
    monkeypatch.undo()
    assert bench.states() == ["rejected", "submitted"]
    assert bench.accepted == 1


def _with_clock(clock: Callable[[], float]) -> Callable[..., None]:
    usual = submit.Submitter.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        usual(self, *args, **{**kwargs, "clock": clock})

    return init


def test_a_send_that_is_interrupted_is_unknown(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    class TaskTimeout(BaseException):
        """As Airflow's own, which is no Exception."""

    usual = SyncClient.submit

    def interrupted(self: SyncClient, body: bytes, **kwargs: Any) -> Any:
        usual(self, body, **kwargs)
        raise TaskTimeout

    monkeypatch.setattr(SyncClient, "submit", interrupted)
    with pytest.raises(TaskTimeout):
        bench.submit()
    monkeypatch.setattr(SyncClient, "submit", usual)

    with pytest.raises(JimengUnknownSubmitError):
        bench.submit()
    assert bench.accepted == 1


def test_a_worker_that_dies_between_intent_and_answer_leaves_an_unknown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.connect(submit_deadline=0.5)

    class Killed(BaseException):
        """SIGKILL leaves no time for anything."""

    def die(*_: Any, **__: Any) -> Any:
        raise Killed

    usual = Bookkeeper.keep_id, Bookkeeper.unknown
    monkeypatch.setattr(Bookkeeper, "keep_id", die)
    monkeypatch.setattr(Bookkeeper, "unknown", die)
    instance = bench.imitation()
    with pytest.raises(Killed):
        instance.leg()
    assert bench.states() == ["intent"]
    monkeypatch.setattr(Bookkeeper, "keep_id", usual[0])
    monkeypatch.setattr(Bookkeeper, "unknown", usual[1])

    with pytest.raises(JimengUnknownSubmitError):
        instance.clear().finish()
    assert bench.accepted == 1
    assert bench.states() == ["unknown"]


def test_an_id_is_recorded_however_long_the_ledger_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = type(bench.ledger).record_created
    failures: list[int] = []

    def away(self: Any, *args: Any) -> Any:
        if len(failures) < 3:
            failures.append(1)
            raise JimengLedgerError("away")
        return usual(self, *args)

    monkeypatch.setattr(type(bench.ledger), "record_created", away)
    monkeypatch.setattr(bookkeeping, "backoff_delay", lambda *_, **__: 0.01)
    bench.submit()
    assert len(failures) == 3
    assert bench.states() == ["submitted"]
    assert bench.accepted == 1


@pytest.mark.parametrize("move", ["record_rejected", "begin_send"])
def test_a_ledger_that_blinks_makes_no_unknown_of_what_is_certain(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, move: str
) -> None:
    usual, get = getattr(Ledger, move), Ledger.get
    failures: list[str] = []

    def away(self: Ledger, *args: Any, **kwargs: Any) -> Any:
        found = usual(self, *args, **kwargs) if move == "begin_send" else None
        if not failures:
            failures.append(move)
            raise JimengLedgerUnavailableError("away")
        return found if move == "begin_send" else usual(self, *args, **kwargs)

    def still_away(self: Ledger, record_id: int) -> Any:
        if failures == ["begin_send"]:
            failures.append("get")
            raise JimengLedgerUnavailableError("still away")
        return get(self, record_id)

    monkeypatch.setattr(Ledger, move, away)
    monkeypatch.setattr(Ledger, "get", still_away)
    monkeypatch.setattr(bookkeeping, "backoff_delay", lambda *_, **__: 0.01)
    bench.emu.add_fault("submit:50430")
    bench.imitate(retries=0)
    assert failures
    assert set(bench.states()) == {"rejected", "landed"}
    assert bench.accepted == 1


def test_a_refusal_is_not_told_for_ever_to_a_ledger_that_stays_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: Ledger, *args: Any, **kwargs: Any) -> Any:
        raise JimengLedgerUnavailableError("away")

    monkeypatch.setattr(Ledger, "record_rejected", away)
    monkeypatch.setattr(bookkeeping, "CERTAIN_SECONDS", 0.0)
    bench.emu.add_fault("submit:50430")
    assert isinstance(bench.imitation().leg(), Deferred)
    assert bench.states() == ["intent"], "which ages into an unknown"


def test_a_ledger_that_cannot_be_read_stops_the_submit(bench: Bench) -> None:
    bench.patch.setenv("AIRFLOW__JIMENG__LEDGER_URL", f"sqlite:///{bench.folder}/no/such/folder/ledger.db")
    for operator in ("submit", "imitate"):
        with pytest.raises(JimengError, match="ledger") as told:
            run(bench, operator, retries=0)
        assert not isinstance(told.value, AirflowFailException), "it may be back for a retry"
    assert bench.emu.ledger()["totals"]["submits"] == 0


def test_spend_limits_stop_a_submit_before_it_is_sent(bench: Bench) -> None:
    bench.connect(daily_submit_limit=1)
    bench.submit()
    with pytest.raises(JimengSpendLimitError, match="daily"):
        bench.submit(DagRun("run-2"), variant=1, retries=0)

    bench.connect()
    bench.ledger.pause("tests", by="test", reason="month's end")
    with pytest.raises(JimengSpendLimitError, match="month's end"):
        bench.imitate(DagRun("run-2"), variant=1, retries=0)
    bench.imitate(DagRun("run-3"))
    bench.ledger.resume("tests", by="test", reason="new month")
    bench.imitate(DagRun("run-2"), variant=1, output=str(bench.folder / "second.mp4"))
    assert bench.accepted == 2


def test_two_dags_that_want_the_same_at_once_pay_once(bench: Bench) -> None:
    bench.emu.add_fault("submit:delay,created=true,seconds=0.7")
    results: dict[str, Any] = {}

    def go(name: str) -> None:
        output = str(bench.folder / f"{name}.mp4")
        results[name] = bench.imitate(DagRun("run", name), output=output)

    threads = [threading.Thread(target=go, args=(name,)) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == ["one", "three", "two"]
    assert len({each["sha256"] for each in results.values()}) == 1
    assert bench.accepted == 1


def test_a_wait_for_anothers_submit_ends_with_that_submit(bench: Bench) -> None:
    bench.connect(submit_deadline=20)
    bench.emu.add_fault("submit:delay,created=true,seconds=1.0")
    first = threading.Thread(target=bench.submit)
    first.start()
    until(lambda: bench.states() == ["intent"])

    began = time.monotonic()
    waiting = DagRun("run-2").instance(
        JimengSubmitTaskOperator, "submit", image_url=bench.image, video_url=bench.video
    )
    assert waiting.finish()["reused"]
    first.join()
    assert isinstance(waiting.story[0], Deferred)
    assert time.monotonic() - began < 5.0, "not its whole deadline"
    assert bench.accepted == 1


def test_three_refusals_for_the_accounts_set_up_stop_everybody_until_one_try_succeeds(bench: Bench) -> None:
    bench.patch.setattr(slot_policy, "BREAKER_SECONDS", 1.5)
    bench.emu.add_fault("submit:gateway,code=100013,name=AccessDenied,http_status=403,times=3")
    for number in range(3):
        with pytest.raises(JimengPermissionError):
            bench.submit(DagRun(f"run-{number}"), variant=number)
    with pytest.raises(JimengSpendLimitError, match=r"breaker is open; one submit tries again"):
        bench.submit(DagRun("another"), variant=7, retries=0)
    assert bench.emu.ledger()["totals"]["submits"] == 3, "nothing was sent past the open breaker"

    time.sleep(2.0)
    bench.submit(DagRun("after it was put right"), variant=8)
    bench.submit(DagRun("and everybody else"), variant=9)
    assert bench.accepted == 2
