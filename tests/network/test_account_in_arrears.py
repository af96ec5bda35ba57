# Licensed under the Apache License, Version 2.0. See LICENSE.
"""An account in arrears: one client made 5,405 calls in 5 s; this one stops, but for a probe now and then."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_jimeng.exceptions import (
    JimengNotSentError,
    JimengPermissionError,
    JimengSpendLimitError,
)
from airflow_provider_jimeng.lifecycle.ensured import InHand
from airflow_provider_jimeng.policy import slots

from tests.network.calls import counted

if TYPE_CHECKING:
    from airflow_provider_jimeng.emulator import Emulator

    from tests.network.kit import Way

IMPATIENT = 6
SECONDS = 3.0
TRIES = 45
BREAKER_SECONDS = 0.5
ARREARS = {
    "50400": "submit:50400,http_status=400,times=0",
    "denied": "submit:gateway,code=100013,name=AccessDenied,http_status=403,times=0",
}


@pytest.mark.parametrize("arrears", ARREARS.values(), ids=ARREARS)
def test_impatient_callers_make_a_handful_of_calls_until_the_account_is_put_right(
    way: Way, emu: Emulator, monkeypatch: pytest.MonkeyPatch, arrears: str
) -> None:
    monkeypatch.setattr(slots, "BREAKER_SECONDS", BREAKER_SECONDS)
    emu.add_fault(arrears)
    began = time.monotonic()
    end, latest = began + SECONDS, began + 10 * SECONDS
    told: list[object] = []

    def hammer(name: str) -> None:
        # As retries without a delay do.
        # On a busy machine they are not that impatient; they are to have had their say all the same.
        while (now := time.monotonic()) < end or (len(told) <= TRIES and now < latest):
            told.append(way.submit(name))
            time.sleep(0.01)

    threads = [threading.Thread(target=hammer, args=(f"content-{number}",)) for number in range(IMPATIENT)]
    with counted(emu) as calls:
        for each in threads:
            each.start()
        for each in threads:
            each.join()

        # Three that open the breaker, others' sends under way then, and a probe at 0.5, 1, 2, 4 ... s.
        probes = int(math.log2((time.monotonic() - began) / BREAKER_SECONDS + 1))
        assert slots.BREAK_AFTER <= len(calls.submits) <= slots.BREAK_AFTER + (IMPATIENT - 1) + probes + 1
        assert len(told) > TRIES, "they would have called each time"
        # A claim that a busy machine makes too late to be sent is told of as that.
        assert {type(each) for each in told} - {JimengNotSentError} == {
            JimengPermissionError,
            JimengSpendLimitError,
        }
        assert emu.accepted == 0

        emu.clear_faults()
        until = time.monotonic() + 30 * BREAKER_SECONDS
        while not isinstance(way.submit("content-0"), InHand):
            assert time.monotonic() < until, "the probe that the account needs was never made"
            time.sleep(0.02)
    for number in range(IMPATIENT):
        assert isinstance(way.submit(f"content-{number}"), InHand), "one success closes the breaker for all"
    assert emu.accepted == IMPATIENT
