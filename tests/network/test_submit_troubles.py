# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A submit on a bad network: within its deadline, in bounded memory, never followed elsewhere, paid once."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.exceptions import JimengNotSentError, JimengUnknownSubmitError
from airflow_provider_jimeng.lifecycle import submit
from airflow_provider_jimeng.lifecycle.ensured import InHand

from tests.client.servers import CREATED, Behaviour, answering, make_certificate, server_context, serving
from tests.network.kit import Way, accepted_of, settings_to
from tests.network.odd import REDIRECTS, TELL_NOTHING
from tests.network.proxy import Proxy, Trouble

if TYPE_CHECKING:
    from airflow_provider_jimeng.emulator import Emulator

DEADLINE = 0.6
#: What a busy machine may add.
SLACK = 1.5
MOST_MEMORY = 16 << 20


@pytest.fixture(autouse=True)
def _no_stay_for_late_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "_LATE_SECONDS", 0.0)


def impatient(way: Way) -> Way:
    return replace(way, settings=replace(way.settings, submit_deadline=DEADLINE, read_timeout=30.0))


def expect_unknown_for_good(way: Way, proxy: Proxy, emu: Emulator, accepted: int) -> None:
    """Submit once on the bad network and once on a good one: the second changes nothing."""
    assert isinstance(way.submit("one"), JimengUnknownSubmitError)
    row = way.row("one")
    assert (str(row.state), row.possibly_billed, row.task_id) == ("unknown", True, None)
    connections = len(proxy.passages)
    proxy.trouble, proxy.vendor_port = Trouble(), emu.port
    assert isinstance(way.submit("one"), JimengUnknownSubmitError)
    assert len(proxy.passages) == connections == 1
    assert emu.accepted == accepted


@pytest.mark.parametrize("behave", TELL_NOTHING.values(), ids=TELL_NOTHING)
def test_an_answer_that_is_not_the_vendors_leaves_an_unknown(
    way: Way, proxy: Proxy, emu: Emulator, behave: Behaviour
) -> None:
    with serving(behave) as server:
        proxy.vendor_port = server.port
        tracemalloc.start()
        began = time.monotonic()
        expect_unknown_for_good(way, proxy, emu, accepted=0)
        took, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(server.requests) == 1
    assert took < way.settings.submit_deadline
    assert peak < MOST_MEMORY


@pytest.mark.parametrize("status", REDIRECTS, ids=[each[:3] for each in REDIRECTS])
def test_a_signed_submit_follows_no_redirect(way: Way, proxy: Proxy, emu: Emulator, status: str) -> None:
    with (
        serving(answering(CREATED)) as target,
        serving(answering(b"", status, Location=target.url)) as server,
    ):
        proxy.vendor_port = server.port
        expect_unknown_for_good(way, proxy, emu, accepted=0)
        assert target.connections == 0


HOLES = {
    "nothing arrives": (Trouble(request_bytes=0, how="hang"), 0),
    "half a request arrives": (Trouble(request_bytes=400, how="hang"), 0),
    "no answer comes": (Trouble(answer_bytes=0, how="hang"), 1),
    "half an answer comes": (Trouble(answer_bytes=250, how="hang"), 1),
    "the answer takes too long": (Trouble(delay=30.0), 1),
}


@pytest.mark.parametrize(("trouble", "accepted"), HOLES.values(), ids=HOLES)
def test_a_black_hole_holds_nobody_beyond_the_deadline(
    way: Way, proxy: Proxy, emu: Emulator, trouble: Trouble, accepted: int
) -> None:
    proxy.trouble = trouble
    began = time.monotonic()
    expect_unknown_for_good(impatient(way), proxy, emu, accepted)
    assert time.monotonic() - began < DEADLINE + SLACK


def test_an_answer_that_drips_past_the_deadline_still_brings_its_id_home(
    way: Way, proxy: Proxy, emu: Emulator
) -> None:
    proxy.trouble = Trouble(pause=0.005)
    way = impatient(way)
    began = time.monotonic()
    assert isinstance(way.submit("one"), JimengUnknownSubmitError)
    assert time.monotonic() - began < DEADLINE + SLACK
    assert str(way.row("one").state) == "unknown"

    proxy.settled()
    end = time.monotonic() + 5.0
    while str(way.row("one").state) == "unknown" and time.monotonic() < end:
        time.sleep(0.02)
    assert [way.row("one").task_id] == accepted_of(emu)["one"]
    assert isinstance(way.submit("one"), InHand)
    assert emu.accepted == 1


# --- nothing leaves ---


def expect_rejected(way: Way, why: str) -> None:
    result = way.submit("one")
    assert isinstance(result, JimengNotSentError)
    assert why in str(result)
    row = way.row("one")
    assert (str(row.state), row.possibly_billed) == ("rejected", False)


def secure(way: Way, proxy: Proxy, verify: bool | str) -> Way:
    origin = proxy.url.replace("http:", "https:")
    return replace(way, settings=settings_to(origin, verify=verify))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    made = {}
    for name, host, hours in (
        ("good", "127.0.0.1", 1.0),
        ("expired", "127.0.0.1", -1.0),
        ("foreign", "other.test", 1.0),
    ):
        made[name] = make_certificate(tmp_path_factory.mktemp(name), host, hours=hours)
    return made


@pytest.mark.parametrize(
    ("shown", "trusted", "why"),
    [
        ("good", None, "certificate"),
        ("expired", "expired", "expired"),
        ("foreign", "foreign", "certificate"),
        (None, "good", "TLS failed"),
    ],
    ids=["self-signed", "expired", "of another host", "no TLS at all"],
)
def test_what_fails_before_tls_stands_was_not_sent_and_is_sent_once_when_it_does(
    way: Way,
    proxy: Proxy,
    emu: Emulator,
    certificates: dict[str, Any],
    shown: str | None,
    trusted: str | None,
    why: str,
) -> None:
    good, _ = certificates["good"]
    context = None if shown is None else server_context(*certificates[shown])
    with (
        serving(answering(CREATED), context) as bad,
        serving(answering(CREATED), server_context(*certificates["good"])) as repaired,
    ):
        proxy.vendor_port = emu.port if shown is None else bad.port
        trust = True if trusted is None else str(certificates[trusted][0])
        expect_rejected(secure(way, proxy, trust), why)
        expect_rejected(secure(way, proxy, trust), why)
        assert bad.requests == []
        assert emu.ledger()["totals"]["submits"] == 0

        proxy.vendor_port = repaired.port
        for _ in range(2):
            result = secure(way, proxy, str(good)).submit("one")
            assert isinstance(result, InHand)
        assert len(repaired.requests) == 1


def test_a_name_without_an_address_was_not_sent(way: Way) -> None:
    lost = replace(way, settings=settings_to("https://does-not-exist.invalid"))
    expect_rejected(lost, "no address")
    expect_rejected(lost, "no address")
    assert lost.ledger.slot_view(lost.wanted("one").scope, None).in_use == 0


def test_a_vendor_that_went_away_was_not_sent(way: Way, proxy: Proxy, emu: Emulator) -> None:
    proxy.close()
    expect_rejected(way, "refused")
