# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The vendor's side of both actions: one decision per call, and every call in the book."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.api.models import API_VERSION, RESULT_ACTION, SUBMIT_ACTION
from airflow_provider_jimeng.emulator import answers
from airflow_provider_jimeng.emulator.answers import SUCCESS, Reply
from airflow_provider_jimeng.emulator.clock import Clock
from airflow_provider_jimeng.emulator.config import PROCESSING_FACTOR, EmulatorConfig
from airflow_provider_jimeng.emulator.fault_replies import fault_reply
from airflow_provider_jimeng.emulator.params import (
    Invalid,
    ResultQuery,
    Submission,
    parse_query,
    parse_submit,
)
from airflow_provider_jimeng.emulator.pictures import cheap_picture, count_of, makes_pictures
from airflow_provider_jimeng.emulator.rate import QpsWindow
from airflow_provider_jimeng.emulator.signature import Account, Received, Refusal, verify
from airflow_provider_jimeng.emulator.tasks import Task

if TYPE_CHECKING:
    import random

    from airflow_provider_jimeng.emulator.book import Book
    from airflow_provider_jimeng.emulator.faults import ActiveFault, FaultBook

Sleep = Callable[[float], Awaitable[None]]


class Vendor:
    """
    One account of the vendor. All methods run on one event loop; none but :meth:`call` waits.

    :param on_accepted: told of every accepted task, to fetch and render what it needs.
    """

    def __init__(
        self,
        config: EmulatorConfig,
        *,
        book: Book,
        faults: FaultBook,
        rng: random.Random,
        on_accepted: Callable[[Task], None],
    ) -> None:
        self.config = config
        self.book = book
        self.faults = faults
        self.clock = Clock(book.offset)
        self._rng = rng
        self._on_accepted = on_accepted
        self._windows = {"submit": QpsWindow(), "query": QpsWindow()}

    # -- the gateway -------------------------------------------------------------------------------------

    async def call(self, request: Received, *, host: str, sleep: Sleep) -> Reply:
        """
        Answer one signed call.

        :param host: under which the caller reached the server, for result URLs.
        :param sleep: waits in real seconds; cut short when the server stops.
        """
        started = time.perf_counter()
        query = dict(request.query)
        action = query.get("Action", "")
        on = {SUBMIT_ACTION: "submit", RESULT_ACTION: "query"}.get(action)
        refusal = self._gateway_check(request, query)
        if refusal is not None:
            if on == "query":
                self.book.queried(None, self.clock.now(), noticed=False, refused=str(refusal.code))
            else:
                self.book.refuse(on or "other", str(refusal.code))
            return self._gateway(refusal, action)
        if on == "submit":
            return await self._submit(request.body, sleep, started)
        return self._query(request.body, host, started)

    def _gateway_check(self, request: Received, query: dict[str, str]) -> Refusal | None:
        if "Action" not in query or "Version" not in query:
            return Refusal(100002, "The request is missing the parameter Action or Version.")
        if query["Action"] not in (SUBMIT_ACTION, RESULT_ACTION) or query["Version"] != API_VERSION:
            return Refusal(100008, "Could not find the action or version.")
        if request.path != "/":
            return Refusal(100007, "The service could not be found.")
        if request.method != "POST":
            return Refusal(100020, "The action doesn't support this method.")
        config = self.config
        account = Account(
            config.access_key, config.secret_key, config.session_token, config.region, config.service
        )
        return verify(request, account, now=self.gateway_time(), tolerance=config.clock_tolerance)

    def gateway_time(self) -> dt.datetime:
        """What the gateway takes for the current time."""
        return dt.datetime.fromtimestamp(self.clock.host_time() + self.config.clock_offset, dt.UTC)

    # -- submit ------------------------------------------------------------------------------------------

    async def _submit(self, raw: bytes, sleep: Sleep, started: float) -> Reply:
        if not self._windows["submit"].allow(time.monotonic(), self.config.submit_qps):
            return self._refused_submit(50429, None, started)
        submission = parse_submit(raw)
        if isinstance(submission, Invalid):
            return self._refused_submit(submission.code, submission.message, started)
        struck = self.faults.strike("submit", submission.subject)
        if struck is None:
            return self._accept(submission, started)[0]
        fault = struck.fault
        if fault.kind in ("delay", "drip", "redirect") or fault.makes_task:
            return await self._submit_struck(submission, struck, sleep, started)
        self.book.refuse("submit", fault.label)
        return fault_reply(fault, None, request_id=self._request_id())

    async def _submit_struck(
        self, submission: Submission, struck: ActiveFault, sleep: Sleep, started: float
    ) -> Reply:
        fault = struck.fault
        if fault.kind == "redirect" and not fault.created:
            self.book.refuse("submit", fault.label)
            return fault_reply(fault, None, request_id=self._request_id())
        if fault.kind == "delay" and not fault.created:
            await sleep(1.0 if fault.seconds is None else fault.seconds)
            return self._accept(submission, started)[0]
        genuine, task = self._accept(submission, started)
        if task is None:
            self.faults.put_back(struck)
            return genuine
        if fault.kind != "delay":
            self.book.answered(task, fault.label)
        return fault_reply(fault, genuine, request_id=task.request_id)

    def _accept(self, submission: Submission, started: float) -> tuple[Reply, Task | None]:
        now = self.clock.now()
        limit = self.config.limit_for(submission.req_key)
        if limit is not None and len(self.book.running(submission.req_key, now)) >= limit:
            return self._refused_submit(50430, None, started), None
        task = self.book.accept(self._new_task(submission, now))
        self._on_accepted(task)
        data = {"task_id": task.task_id}
        return self._business(SUCCESS, data, started, request_id=task.request_id), task

    def _new_task(self, submission: Submission, now: float) -> Task:
        config = self.config
        known = config.duration
        if known is None and config.effective_inputs != "decode":
            known = PROCESSING_FACTOR * config.clip_seconds
        planned = None if known is None else self._vary(known) / config.speed
        verdict = self.faults.strike("done", submission.subject)
        measured = config.effective_inputs != "ignore"
        return Task(
            task_id=self._new_task_id(now),
            number=len(self.book.tasks) + 1,
            req_key=submission.req_key,
            body=submission.body,
            content=submission.content,
            content_key=submission.content_key,
            request_id=self._request_id(),
            submitted_at=now,
            queue_until=now + config.queue_share * (planned or 0.0),
            planned=planned,
            done_at=None if measured or planned is None else now + planned,
            verdict=SUCCESS if verdict is None else verdict.fault.effective_code,
            message=None if verdict is None else verdict.fault.message,
            rendered=config.results == "render" and measured,
            pictures=count_of(submission.req_key, submission.body, config.pictures)
            if makes_pictures(submission.req_key)
            else 0,
        )

    def measured(self, task: Task, *, clip_seconds: float | None, code: int, message: str | None) -> None:
        """
        A task's inputs were looked at: settle its end, which is never earlier than now.

        :param clip_seconds: length of the template video, where it is known.
        :param code: 10000, or why the inputs can't be used.
        """
        if self.book.tasks.get(task.task_id) is not task or task.done_at is not None:
            return
        now = self.clock.now()
        planned = task.planned
        if planned is None:
            planned = self._vary(PROCESSING_FACTOR * (clip_seconds or 0.0)) / self.config.speed
        if task.verdict != SUCCESS:
            code, message = task.verdict, task.message
        self.book.settle(task, done_at=max(now, task.submitted_at + planned), verdict=code, message=message)

    # -- query -------------------------------------------------------------------------------------------

    def _query(self, raw: bytes, host: str, started: float) -> Reply:
        now = self.clock.now()
        query = parse_query(raw)
        task = None if isinstance(query, Invalid) else self.book.tasks.get(query.task_id)
        if not self._windows["query"].allow(time.monotonic(), self.config.query_qps):
            return self._refused_query(50429, None, task, now, started)
        if isinstance(query, Invalid):
            return self._refused_query(query.code, query.message, None, now, started)
        body = "" if task is None else json.dumps(task.body, ensure_ascii=False)
        subject = f"{query.task_id} {query.req_key} {body}"
        age = None if task is None else now - task.submitted_at
        finished = task is not None and task.done(now)
        struck = self.faults.strike("query", subject, age=age, done=finished)
        genuine, noticed = self._genuine(task, query, host, now, started)
        if struck is None or struck.fault.kind == "delay":
            reply = genuine if struck is None else fault_reply(struck.fault, genuine, request_id="")
            self.book.queried(task, now + reply.delay, noticed=noticed, refused=None)
            return reply
        self.book.queried(task, now, noticed=False, refused=struck.fault.label)
        return fault_reply(struck.fault, genuine, request_id=self._request_id())

    def _genuine(
        self, task: Task | None, query: ResultQuery, host: str, now: float, started: float
    ) -> tuple[Reply, bool]:
        lifetime = self.config.task_lifetime / self.config.speed
        if task is None or task.req_key != query.req_key or now >= task.submitted_at + lifetime:
            return self._business(SUCCESS, {"status": "not_found"}, started), False
        status = task.status(now)
        if status != "done":
            return self._business(SUCCESS, {"status": status}, started), False
        if task.verdict != SUCCESS:
            reply = self._business(task.verdict, {"status": "done"}, started, message=task.message)
            return reply, True
        return self._business(SUCCESS, {"status": "done", **self._results(task, query, host)}, started), True

    def _results(self, task: Task, query: ResultQuery, host: str) -> dict[str, Any]:
        if not task.pictures:
            return {"video_url": self.result_url(task, host)}
        if query.links:
            urls = [self.result_url(task, host, name) for name in task.names]
            return {"binary_data_base64": None, "image_urls": urls}
        # Without the wish for links the pictures themselves are in the answer: here small ones.
        texts = [base64.b64encode(cheap_picture(task.tag(name))).decode() for name in task.names]
        return {"binary_data_base64": texts, "image_urls": None}

    # -- result URLs -------------------------------------------------------------------------------------

    def result_url(self, task: Task, host: str, name: str | None = None) -> str:
        """
        A freshly signed URL of a result; each call gives another one.

        :param name: which of the task's results; the first, unless given.
        """
        name = name or task.names[0]
        expires = f"{self.clock.now() + self.config.url_lifetime / self.config.speed:.3f}"
        serial = f"{self._rng.getrandbits(48):012x}"
        signature = self._url_signature(name, expires, serial)
        return f"http://{host}/results/{name}?x-expires={expires}&x-nonce={serial}&x-signature={signature}"

    def url_valid(self, name: str, expires: str, serial: str, signature: str) -> bool:
        """Whether a result URL is untampered and not expired."""
        expected = self._url_signature(name, expires, serial)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape")):
            return False
        return self.clock.now() < float(expires)

    def _url_signature(self, name: str, expires: str, serial: str) -> str:
        text = f"{name}\n{expires}\n{serial}".encode("utf-8", "surrogateescape")
        return hmac.new(self.book.url_secret.encode(), text, hashlib.sha256).hexdigest()

    # -- small things ------------------------------------------------------------------------------------

    def _vary(self, seconds: float) -> float:
        jitter = self.config.jitter
        return seconds * self._rng.uniform(1.0 - jitter, 1.0 + jitter) if jitter else seconds

    def _new_task_id(self, now: float) -> str:
        while True:
            # As the vendor's: seconds in the upper half, so 19 digits; odd, so that a float can't hold it.
            task_id = str((int(now) << 32) | self._rng.getrandbits(32) | 1)
            if task_id not in self.book.tasks:
                return task_id

    def _request_id(self) -> str:
        return answers.new_request_id(self.clock.now(), self._rng)

    def _business(
        self,
        code: int,
        data: dict[str, Any] | None,
        started: float,
        *,
        message: str | None = None,
        request_id: str | None = None,
    ) -> Reply:
        return answers.business(
            code,
            data=data,
            message=message,
            request_id=request_id or self._request_id(),
            elapsed_ms=(time.perf_counter() - started) * 1000.0,
        )

    def _gateway(self, refusal: Refusal, action: str) -> Reply:
        return answers.gateway(
            refusal.code,
            message=refusal.message,
            action=action,
            region=self.config.region,
            request_id=self._request_id(),
        )

    def _refused_submit(self, code: int, message: str | None, started: float) -> Reply:
        self.book.refuse("submit", str(code))
        return self._business(code, None, started, message=message)

    def _refused_query(
        self, code: int, message: str | None, task: Task | None, now: float, started: float
    ) -> Reply:
        self.book.queried(task, now, noticed=False, refused=str(code))
        return self._business(code, None, started, message=message)
