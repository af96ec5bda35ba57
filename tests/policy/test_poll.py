# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A poll never fails a paid task; only a verdict, the horizon or the deadline ends a wait."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from airflow_provider_jimeng.api.codes import RULES, Family, OnQuery
from airflow_provider_jimeng.api.models import (
    TASK_LIFETIME_SECONDS,
    Answer,
    Envelope,
    FailureKind,
    Observation,
    TransportFailure,
)
from airflow_provider_jimeng.api.parsing import parse_answer
from airflow_provider_jimeng.exceptions import (
    JimengClockError,
    JimengCredentialError,
    JimengPermissionError,
    JimengProtocolError,
    JimengRetryableTaskError,
    JimengTaskExpiredError,
    JimengTaskFailedError,
    JimengWaitTimeoutError,
)
from airflow_provider_jimeng.policy.poll import (
    PollDecision,
    PollKind,
    PollSettings,
    PollState,
    decide_poll,
)

#: A busy machine is no failure.
QUIET = [HealthCheck.too_slow]
SUBMITTED = 1_000_000.0
URL = "https://results.example/x.mp4?sig=secret"
SETTINGS = PollSettings()
SILENCE = TransportFailure(FailureKind.NO_ANSWER, "read timed out")


def answer(document: Any, http_status: int = 200, **headers: str) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse_answer(http_status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def status(word: Any, code: int = 10000, http_status: int = 200, **data: Any) -> Answer:
    return answer({"code": code, "data": {"status": word, **data}, "request_id": "r1"}, http_status)


def refusal(code: int, http_status: int = 400, message: str = "") -> Answer:
    return answer({"code": code, "data": None, "message": message, "request_id": "r1"}, http_status)


def gateway(code_n: int, http_status: int, code: str = "") -> Answer:
    return answer({"ResponseMetadata": {"Error": {"CodeN": code_n, "Code": code}}}, http_status)


class Wait:
    """One wait, polled at chosen ages of the task."""

    def __init__(
        self, *, deadline: float | None = None, known: bool = True, settings: PollSettings = SETTINGS
    ) -> None:
        self.state = PollState()
        self.submitted_at = SUBMITTED if known else None
        self.deadline = None if deadline is None else SUBMITTED + deadline
        self.settings = settings

    def poll(self, observation: Observation, age: float) -> PollDecision:
        self.state, decision = decide_poll(
            PollState.from_dict(json.loads(json.dumps(self.state.to_dict()))),
            observation,
            now=SUBMITTED + age,
            submitted_at=self.submitted_at,
            deadline=self.deadline,
            settings=self.settings,
        )
        return decision


def once(observation: Observation, age: float = 100.0, **options: Any) -> PollDecision:
    return Wait(**options).poll(observation, age)


class TestSuccess:
    def test_is_done_with_a_url(self):
        decision = once(status("done", video_url=URL))
        assert (decision.kind, decision.video_url, decision.code) == (PollKind.SUCCEEDED, URL, 10000)
        assert decision.request_id == "r1"
        assert decision.final
        assert decision.error is None

    def test_of_several_pictures_tells_all_of_them(self):
        decision = once(status("done", image_urls=[URL, f"{URL}&2", f"{URL}&3"]))
        assert (decision.kind, decision.video_url) == (PollKind.SUCCEEDED, URL)
        assert decision.further_urls == (f"{URL}&2", f"{URL}&3")
        assert URL not in repr(decision)

    def test_is_not_a_url_of_a_task_that_runs(self):
        assert once(status("generating", video_url=URL)).kind is PollKind.WAIT

    def test_beats_a_deadline_and_a_horizon_that_have_passed(self):
        decision = once(status("done", video_url=URL), age=2 * TASK_LIFETIME_SECONDS, deadline=1.0)
        assert decision.kind is PollKind.SUCCEEDED


class TestRunning:
    @pytest.mark.parametrize("word", ["in_queue", "generating"])
    def test_waits(self, word):
        decision = once(status(word))
        assert (decision.kind, decision.message, decision.note) == (PollKind.WAIT, word, None)
        assert not decision.final
        assert not decision.new_attempt

    def test_takes_an_unknown_status_for_running_and_notes_it_once(self):
        wait = Wait()
        assert "'resting'" in (wait.poll(status("resting"), 1).note or "")
        assert wait.poll(status("resting"), 2).note is None
        assert "'dreaming'" in (wait.poll(status("dreaming"), 3).note or "")
        assert wait.poll(status("dreaming"), 4).kind is PollKind.WAIT

    @pytest.mark.parametrize("word", [None, 3, "", "Done", "DONE"])
    def test_takes_no_status_or_another_spelling_for_running(self, word):
        decision = once(status(word, video_url=URL))
        assert decision.kind is PollKind.WAIT
        assert decision.note

    def test_takes_success_without_data_for_running(self):
        assert once(answer({"code": 10000, "data": None})).kind is PollKind.WAIT

    def test_remembers_only_a_few_words(self):
        wait = Wait()
        for number in range(50):
            wait.poll(status(f"word-{number}"), number)
        assert len(wait.state.unknown_statuses) == 8

    @pytest.mark.parametrize("code", [50411, 50200, 59999])
    def test_believes_the_status_rather_than_a_code_about_the_task(self, code):
        assert once(status("generating", code, 400)).kind is PollKind.WAIT


class TestVerdicts:
    @pytest.mark.parametrize("code", [50411, 50412, 50413, 50512, 50205, 50214, 50518, 60102])
    @pytest.mark.parametrize("data", [None, {"status": "done"}])
    def test_fail_the_task_for_good(self, code, data):
        decision = once(answer({"code": code, "data": data, "message": "words"}, 400))
        assert (decision.kind, decision.code, decision.new_attempt) == (PollKind.FAILED, code, False)
        assert decision.error is JimengTaskFailedError
        assert "words" in decision.message
        assert "not billed" in decision.message

    @pytest.mark.parametrize("code", [50511, 50516, 50517, 50519])
    def test_on_the_output_allow_a_new_attempt(self, code):
        decision = once(refusal(code))
        assert (decision.kind, decision.new_attempt) == (PollKind.FAILED, True)
        assert decision.error is JimengRetryableTaskError

    @pytest.mark.parametrize("code", [50500, 50501])
    def test_of_internal_errors_need_the_word_done(self, code):
        assert once(refusal(code, 500)).kind is PollKind.WAIT
        decision = once(status("done", code, 500))
        assert (decision.kind, decision.new_attempt) == (PollKind.FAILED, True)

    @pytest.mark.parametrize("code", [50200, 50213, 50215, 59999])
    def test_beside_done_need_no_proof(self, code):
        assert once(status("done", code, 400), age=5).kind is PollKind.FAILED

    @pytest.mark.parametrize("code", [50520, 50521, 50522])
    def test_of_a_review_service_depend_on_whether_it_broke_down(self, code):
        assert once(refusal(code, 500)).kind is PollKind.WAIT
        assert once(refusal(code, 400)).kind is PollKind.FAILED
        assert once(status("done", code, 500)).kind is PollKind.FAILED

    def test_beat_a_deadline_and_a_horizon_that_have_passed(self):
        decision = once(refusal(50411), age=2 * TASK_LIFETIME_SECONDS, deadline=1.0)
        assert decision.kind is PollKind.FAILED

    def test_need_an_answer_that_could_be_read(self):
        decision = once(answer({"data": {"status": "done"}}))
        assert decision.kind is PollKind.WAIT

    @pytest.mark.parametrize("code", [50429, 50430, 50400, 50402])
    def test_beside_a_code_that_may_be_the_querys_own_must_last(self, code):
        wait = Wait()
        kinds = [wait.poll(status("done", code, 400), 100 + step * 10).kind for step in range(3)]
        assert PollKind.FAILED not in kinds[:2]
        assert kinds[2] is PollKind.FAILED

    def test_are_none_of_the_gateways_whatever_stands_beside_it(self):
        document = {"ResponseMetadata": {"Error": {"CodeN": 199999}}, "data": {"status": "done"}}
        assert once(answer(document, 400)).kind is PollKind.HOLD
        assert once(answer(document, 500)).kind is PollKind.WAIT


class TestGrace:
    @pytest.mark.parametrize("word", ["not_found", "expired"])
    def test_covers_no_such_task_right_after_the_submit(self, word):
        wait = Wait()
        assert {wait.poll(status(word), age).kind for age in range(60)} == {PollKind.WAIT}

    def test_covers_50215_right_after_the_submit(self):
        wait = Wait()
        assert {wait.poll(refusal(50215), age).kind for age in range(60)} == {PollKind.WAIT}

    def test_after_it_several_in_a_row_expire_a_task_that_may_be_billed(self):
        wait = Wait()
        assert wait.poll(status("not_found"), 61).kind is PollKind.WAIT
        assert wait.poll(status("expired"), 70).kind is PollKind.WAIT
        decision = wait.poll(status("not_found"), 80)
        assert (decision.kind, decision.error) == (PollKind.EXPIRED, JimengTaskExpiredError)
        assert "may have been billed" in decision.message

    def test_after_it_several_50215_in_a_row_are_the_verdict(self):
        wait = Wait()
        kinds = [wait.poll(refusal(50215), age).kind for age in (61, 70, 80)]
        assert kinds == [PollKind.WAIT, PollKind.WAIT, PollKind.FAILED]

    def test_is_over_once_its_time_is_full(self):
        wait = Wait()
        wait.poll(status("not_found"), SETTINGS.grace_seconds - 0.5)
        assert wait.state.doubt is None
        wait.poll(status("not_found"), SETTINGS.grace_seconds)
        assert wait.state.doubt_count == 1

    @pytest.mark.parametrize("doubtful", [status("not_found"), refusal(50215)])
    def test_polling_slowly_does_not_shorten_the_proof(self, doubtful):
        wait = Wait()
        assert [wait.poll(doubtful, 100.0 * step).final for step in (1, 2, 3)] == [False, False, True]

    @pytest.mark.parametrize("code", [10000, 50200])
    def test_keeps_the_vendors_word(self, code):
        assert once(status("not_found", code), age=1).message == "the vendor says not_found"

    def test_polling_fast_does_not_shorten_the_proof(self):
        wait = Wait()
        assert {wait.poll(status("not_found"), 61 + step / 10).kind for step in range(100)} == {PollKind.WAIT}

    def test_a_word_of_life_starts_the_row_again(self):
        wait = Wait()
        for age in (61, 70):
            wait.poll(status("not_found"), age)
        wait.poll(status("generating"), 75)
        assert wait.poll(status("not_found"), 80).kind is PollKind.WAIT

    def test_silence_does_not_start_the_row_again(self):
        wait = Wait()
        for age in (61, 70):
            wait.poll(status("not_found"), age)
        wait.poll(SILENCE, 75)
        assert wait.poll(status("not_found"), 80).kind is PollKind.EXPIRED

    def test_another_doubt_starts_another_row(self):
        wait = Wait()
        kinds = {
            wait.poll(refusal(50215) if step % 2 else status("not_found"), 61 + 10 * step).kind
            for step in range(10)
        }
        assert kinds == {PollKind.WAIT}

    def test_counts_from_the_waits_own_start_where_the_submit_is_unknown(self):
        wait = Wait(known=False)
        assert {wait.poll(status("not_found"), age).kind for age in range(5000, 5060, 10)} == {PollKind.WAIT}
        assert [wait.poll(status("not_found"), age).kind for age in (5061, 5070, 5080)][
            -1
        ] is PollKind.EXPIRED

    def test_covers_no_such_task_beside_a_code_too(self):
        wait = Wait()
        kinds = [wait.poll(status("not_found", 50200, 400), age).kind for age in (10, 61, 70, 80)]
        assert kinds == [PollKind.WAIT, PollKind.WAIT, PollKind.WAIT, PollKind.EXPIRED]

    @pytest.mark.parametrize("code", [50400, 50429, 50500])
    def test_no_such_task_beside_trouble_of_the_query_proves_nothing(self, code):
        wait = Wait()
        assert not any(wait.poll(status("not_found", code, 400), age).final for age in range(61, 1000, 10))


class TestDoneWithoutAUrl:
    def test_is_asked_again_and_then_held_until_the_horizon(self):
        wait = Wait()
        kinds = [wait.poll(status("done"), 100 + 10 * step).kind for step in range(5)]
        assert kinds == [PollKind.WAIT, PollKind.WAIT, PollKind.HOLD, PollKind.HOLD, PollKind.HOLD]
        decision = wait.poll(status("done"), 200)
        assert decision.error is JimengProtocolError
        assert wait.poll(status("done"), TASK_LIFETIME_SECONDS).kind is PollKind.EXPIRED

    def test_succeeds_when_the_url_comes_late(self):
        wait = Wait()
        for step in range(5):
            wait.poll(status("done"), 100 + 10 * step)
        assert wait.poll(status("done", video_url=URL), 200).kind is PollKind.SUCCEEDED
        assert wait.state.doubt is None

    def test_does_not_refresh_credentials(self):
        wait = Wait()
        assert not any(wait.poll(status("done"), 100 + 10 * step).refresh for step in range(5))


class TestHolds:
    @pytest.mark.parametrize(
        ("observation", "error"),
        [
            (gateway(100009, 401, "InvalidAccessKey"), JimengCredentialError),
            (gateway(100010, 401, "SignatureDoesNotMatch"), JimengCredentialError),
            (gateway(100013, 403, "AccessDenied"), JimengPermissionError),
            (refusal(50400, 401), JimengPermissionError),
        ],
    )
    def test_credential_trouble_holds_and_asks_for_fresh_credentials(self, observation, error):
        decision = once(observation)
        assert (decision.kind, decision.error, decision.refresh) == (PollKind.HOLD, error, True)
        assert not decision.final
        assert "the wait goes on" in decision.message

    def test_delays_grow_to_a_limit_and_start_again_after_news(self):
        wait = Wait()
        observation = gateway(100009, 401)
        delays = [wait.poll(observation, age).retry_after for age in range(10)]
        assert delays[:5] == [15, 30, 60, 120, 240]
        assert delays[-1] == 300
        wait.poll(status("generating"), 11)
        assert wait.poll(observation, 12).retry_after == 15

    @pytest.mark.parametrize("news", [status("not_found"), refusal(50215), status("done")])
    @pytest.mark.parametrize("trouble", [gateway(100009, 401), gateway(100026, 401), SILENCE])
    def test_an_answer_about_the_task_ends_a_row_of_troubles(self, news, trouble):
        first, again = Wait(), Wait()
        usual = first.poll(trouble, 10)
        for age in range(1, 6):
            again.poll(trouble, age)
        again.poll(news, 6)
        assert again.poll(trouble, 10) == usual

    def test_a_short_first_delay_of_holds_is_kept_to(self):
        eager = PollSettings(hold_base=0.25)
        assert once(gateway(100009, 401), settings=eager).retry_after == 0.25

    def test_the_vendors_wish_is_followed_within_the_limit(self):
        later = answer({"code": 50400}, 401, Retry_After="100")
        much_later = answer({"code": 50400}, 401, Retry_After="80000")
        assert once(later).retry_after == 100
        assert once(much_later).retry_after == 300

    def test_a_refused_date_is_signed_again_once_and_then_holds(self):
        wait = Wait()
        first = wait.poll(gateway(100006, 403, "InvalidTimestamp"), 10)
        assert (first.kind, first.refresh, first.error) == (PollKind.WAIT, False, None)
        second = wait.poll(gateway(100006, 403, "InvalidTimestamp"), 11)
        assert (second.kind, second.error) == (PollKind.HOLD, JimengClockError)

    def test_a_token_that_expired_is_refreshed_once_and_then_holds(self):
        wait = Wait()
        first = wait.poll(gateway(100026, 401, "InvalidSecretToken"), 10)
        assert (first.kind, first.refresh) == (PollKind.WAIT, True)
        second = wait.poll(gateway(100026, 401, "InvalidSecretToken"), 11)
        assert (second.kind, second.refresh) == (PollKind.HOLD, True)

    def test_an_unmodelled_refusal_holds(self):
        assert once(refusal(59999, 400)).kind is PollKind.HOLD


class TestNothingLearnt:
    @pytest.mark.parametrize(
        "observation",
        [
            SILENCE,
            TransportFailure(FailureKind.NOT_SENT, "no address"),
            answer(b"<html>502</html>", 502),
            answer(b"", 503),
            answer(b'{"code": 10000, "da', 200),
            refusal(50429, 429),
            refusal(50430, 429),
            gateway(100018, 429),
            gateway(100014, 500),
            gateway(100035, 503),
            refusal(50500, 500),
            refusal(59999, 500),
        ],
    )
    def test_waits_with_growing_delays_and_no_error(self, observation):
        wait = Wait()
        decisions = [wait.poll(observation, age) for age in range(12)]
        delays = [decision.retry_after or 0.0 for decision in decisions]
        assert {decision.kind for decision in decisions} == {PollKind.WAIT}
        assert {decision.error for decision in decisions} == {None}
        assert delays == sorted(delays)
        assert delays[0] <= 1.0
        assert delays[-1] == SETTINGS.retry_cap / 2

    def test_the_vendors_wish_is_followed_within_the_limit(self):
        assert once(answer(b"", 503, Retry_After="20")).retry_after == 20
        assert once(answer(b"", 503, Retry_After="20000")).retry_after == SETTINGS.retry_cap


class TestTheEnd:
    def test_comes_with_the_deadline_while_the_task_runs(self):
        wait = Wait(deadline=200)
        assert wait.poll(status("generating"), 199).kind is PollKind.WAIT
        decision = wait.poll(status("generating"), 200)
        assert (decision.kind, decision.error) == (PollKind.DEADLINE, JimengWaitTimeoutError)
        assert "generating" in decision.message
        assert decision.retry_after is None
        assert decision.final

    def test_comes_with_the_horizon_whatever_the_vendor_says(self):
        for observation in (status("generating"), SILENCE, gateway(100009, 401)):
            decision = once(observation, age=TASK_LIFETIME_SECONDS)
            assert (decision.kind, decision.error) == (PollKind.EXPIRED, JimengTaskExpiredError)
            assert "may have been billed" in decision.message

    def test_the_horizon_counts_from_the_waits_start_where_the_submit_is_unknown(self):
        wait = Wait(known=False)
        assert wait.poll(status("generating"), 10 * TASK_LIFETIME_SECONDS).kind is PollKind.WAIT
        assert wait.poll(status("generating"), 11 * TASK_LIFETIME_SECONDS).kind is PollKind.EXPIRED

    def test_keeps_the_note_of_the_last_answer(self):
        assert once(status("resting"), deadline=1).note

    def test_the_horizon_is_told_before_the_deadline(self):
        assert once(SILENCE, age=TASK_LIFETIME_SECONDS, deadline=1.0).kind is PollKind.EXPIRED


class TestSettings:
    def test_are_those_that_the_design_tells(self):
        assert PollSettings() == PollSettings(
            grace_seconds=60,
            lasting_answers=3,
            lasting_seconds=15,
            horizon_seconds=12 * 3600,
            min_delay=1,
            max_delay=30,
            max_first_delay=600,
            hold_base=15,
            hold_cap=300,
            retry_cap=60,
        )


class TestState:
    def test_begins_with_nothing(self):
        assert PollState() == PollState(None, None, 0, 0.0, 0, 0, 0, (), None)

    def test_survives_json_and_other_releases(self):
        state = PollState(1.0, "gone", 2, 3.0, 4, 5, 6, ("a", "b"), 7.0)
        assert PollState.from_dict(json.loads(json.dumps(state.to_dict()))) == state
        assert PollState.from_dict({"doubt": "gone", "of_a_newer_release": 1}) == PollState(doubt="gone")
        assert PollState.from_dict({}) == PollState()

    def test_remembers_when_the_task_last_ran(self):
        wait = Wait()
        wait.poll(status("generating"), 10)
        wait.poll(SILENCE, 20)
        assert wait.state.running_at == SUBMITTED + 10
        wait.poll(status("done", video_url=URL), 30)
        assert wait.state.running_at == SUBMITTED + 10

    def test_holds_no_url(self):
        wait = Wait()
        wait.poll(status("done", video_url=URL), 10)
        assert "secret" not in json.dumps(wait.state.to_dict())


ENDING_FAMILIES = {Family.MEDIA, Family.INPUT_REVIEW, Family.OUTPUT_REVIEW, Family.REVIEW_SERVICE}
words = st.sampled_from(["in_queue", "generating", "done", "not_found", "expired", "resting", None])
observations = st.one_of(
    st.just(SILENCE),
    st.builds(
        Answer,
        st.sampled_from([200, 400, 401, 403, 404, 429, 500, 502, 503]),
        st.sampled_from([Envelope.BUSINESS, Envelope.GATEWAY]),
        st.sampled_from(sorted(RULES)) | st.integers(50000, 60000),
        data=st.none() | words.map(lambda word: {"status": word}),
    ),
    st.builds(Answer, st.integers(200, 599), st.just(Envelope.NONE)),
)


class TestAnything:
    @settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
    @given(st.lists(observations, max_size=12), st.floats(0.5, 30))
    def test_no_trouble_ends_a_wait_and_every_end_has_its_reason(self, answers, gap):
        wait = Wait()
        age = 0.0
        for observation in answers:
            age += gap
            decision = wait.poll(observation, age)
            assert decision.final is (decision.kind not in (PollKind.WAIT, PollKind.HOLD))
            assert decision.kind is not PollKind.SUCCEEDED
            assert decision.kind is not PollKind.DEADLINE
            if decision.kind is PollKind.FAILED:
                self.check_verdict(observation)
            if decision.kind is PollKind.EXPIRED:
                assert isinstance(observation, Answer)
                assert (observation.data or {}).get("status") in ("not_found", "expired")
                assert age > SETTINGS.grace_seconds
            if decision.final:
                assert decision.error is not None
                break

    @staticmethod
    def check_verdict(observation: Observation) -> None:
        assert isinstance(observation, Answer)
        done = (observation.data or {}).get("status") == "done"
        rule = RULES.get(observation.code or 0)
        about_the_task = rule is not None and rule.family in ENDING_FAMILIES
        assert done or about_the_task
        if rule is not None and rule.on_query is OnQuery.ANSWERED:
            raise AssertionError("success was taken for a verdict")

    @settings(deadline=None, suppress_health_check=QUIET)
    @given(st.lists(observations, max_size=6), st.floats(0, 1e6))
    def test_a_deadline_that_has_passed_always_ends_it(self, answers, age):
        wait = Wait(deadline=0.0)
        assert all(wait.poll(observation, age).final for observation in answers)


class TestAWorkersClockThatIsWrong:
    """Age gives a paid task up, so it is taken from the clock that makes the task younger."""

    HOURS = 3600.0

    @staticmethod
    def told(status: str, at: float) -> Answer:
        date = dt.datetime.fromtimestamp(at, dt.UTC)
        return Answer(200, Envelope.BUSINESS, 10000, data={"status": status}, server_date=date)

    def test_hours_ahead_it_does_not_expire_a_task_that_the_vendor_runs(self) -> None:
        submitted = 1_000_000.0
        _, decision = decide_poll(
            PollState(),
            self.told("generating", submitted + 60),
            now=submitted + 13 * self.HOURS,
            submitted_at=submitted,
            deadline=None,
            settings=PollSettings(),
        )
        assert decision.kind is PollKind.WAIT

    def test_a_minute_ahead_it_leaves_the_grace_in_which_a_new_task_is_not_found(self) -> None:
        submitted, state = 1_000_000.0, PollState()
        for seconds in range(0, 30, 5):
            state, decision = decide_poll(
                state,
                self.told("not_found", submitted + seconds),
                now=submitted + seconds + 60 * 60,
                submitted_at=submitted,
                deadline=None,
                settings=PollSettings(),
            )
            assert decision.kind is PollKind.WAIT

    def test_behind_it_only_makes_the_wait_longer(self) -> None:
        submitted = 1_000_000.0
        _, decision = decide_poll(
            PollState(),
            self.told("generating", submitted + 13 * self.HOURS),
            now=submitted + 60,
            submitted_at=submitted,
            deadline=None,
            settings=PollSettings(),
        )
        assert decision.kind is PollKind.WAIT

    def test_right_it_still_ends_a_wait_at_the_horizon(self) -> None:
        submitted = 1_000_000.0
        _, decision = decide_poll(
            PollState(),
            self.told("generating", submitted + 13 * self.HOURS),
            now=submitted + 13 * self.HOURS,
            submitted_at=submitted,
            deadline=None,
            settings=PollSettings(),
        )
        assert decision.kind is PollKind.EXPIRED


@pytest.mark.parametrize(("late", "kind"), [(0.0, PollKind.EXPIRED), (-0.01, PollKind.WAIT)])
def test_a_task_that_is_not_found_is_gone_as_soon_as_that_has_lasted(late: float, kind: PollKind):
    wait, first = Wait(), SETTINGS.grace_seconds + 100.0
    for _ in range(SETTINGS.lasting_answers):
        assert wait.poll(status("not_found"), first).kind is PollKind.WAIT
    assert wait.poll(status("not_found"), first + SETTINGS.lasting_seconds + late).kind is kind


@pytest.mark.parametrize("age", [5.0, 1000.0])
def test_a_task_that_is_not_found_is_told_in_the_vendors_word(age: float):
    assert once(status("not_found"), age).message == "the vendor says not_found"
