# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The tab where it belongs: in Airflow's own pages, from a real api-server, beside a real bulk run.

JIMENG_UI_PICTURES=docs/images takes the pictures of the docs; look at them.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import requests

from airflow_provider_jimeng.emulator import Emulator, EmulatorConfig, Fault
from airflow_provider_jimeng.emulator.sample_media import make_media
from airflow_provider_jimeng.ledger.admin import LedgerAdmin
from airflow_provider_jimeng.ledger.listing import Wanted
from airflow_provider_jimeng.ledger.states import TaskState

from tests.bulk.chromium import Page, chromium_page
from tests.ui.auth import BULK, PerDagAuthManager
from tests.ui.site import token_of

if TYPE_CHECKING:
    from tests.engine.airflow_stack import AirflowStack
    from tests.postgres import Databases

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
#: Nobody waits three of these for the release of an unknown.
SUBMIT_DEADLINE = 2
#: The tab's document, in its frame.
TAB = "document.querySelector('iframe').contentDocument"
READY = f"(document.querySelector('iframe') && {TAB}?.documentElement?.dataset.ready == 'yes')"


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    media = tmp_path_factory.mktemp("tab") / "media"
    make_media(media, images=12, videos=3)
    faults = [
        Fault("submit", "reset", match="character-04"),
        Fault("done", "code", code=50411, match="character-06"),
    ]
    config = EmulatorConfig(
        concurrency=3, duration=3.0, jitter=0.3, results="render", render_height=240, media_dir=media
    )
    with Emulator(config, faults) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def ledger_url(postgres_databases: Databases) -> str:
    return postgres_databases.create("ledger")


@pytest.fixture(scope="module")
def engine(
    start_stack: Callable[..., AirflowStack],
    vendor: Emulator,
    ledger_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AirflowStack]:
    home = tmp_path_factory.mktemp("tab-home")
    connection = {
        "conn_type": "volcengine",
        "login": vendor.config.access_key,
        "password": vendor.config.secret_key,
        "host": vendor.url,
        "extra": {
            "account": "studio",
            "max_concurrency": 3,
            "submit_qps": 20,
            "query_qps": 20,
            "submit_deadline": SUBMIT_DEADLINE,
        },
    }
    stack = start_stack(
        ROOT / "dags",
        env={
            # The auth manager is the tests'.
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "AIRFLOW_CONN_VOLCENGINE_DEFAULT": json.dumps(connection),
            "AIRFLOW__CORE__AUTH_MANAGER": "tests.ui.auth.PerDagAuthManager",
            "AIRFLOW__JIMENG__LEDGER_URL": ledger_url,
            "JIMENG_EXAMPLE_MEDIA": f"{vendor.url}/media",
            "JIMENG_EXAMPLE_OUTPUT": str(home / "output"),
        },
    )
    yield stack
    stack.stop()


def token(engine: AirflowStack, name: str) -> str:
    """Return what the api-server gives a user who signs in; it knows its own signature."""
    name_of_secret = "AIRFLOW__API_AUTH__JWT_SECRET"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name_of_secret, engine.environment[name_of_secret])
        return token_of(PerDagAuthManager(), name)


async def test_a_bulk_run_is_watched_played_and_decided_about(
    engine: AirflowStack, ledger_url: str, tmp_path: Path
):
    engine.api.wait_for_dag(BULK)
    engine.api.unpause(BULK)
    run = engine.api.trigger(BULK, {"count": 12})
    async with chromium_page(tmp_path / "profile", width=1440, height=1000, seconds=400) as page:
        await page.call(
            "Network.setCookie", name="_token", value=token(engine, "anna"), url=engine.api.base_url
        )
        await _open_tab(page, engine, run)
        await _watch(page)
        await _play(page)
        await asyncio.to_thread(engine.api.wait_for_run, BULK, run, 120)
        await _decide(page, LedgerAdmin(ledger_url))
        assert [each for each in page.errors if "can escape its sandboxing" not in each] == []
    _others_stay_out(engine, run, LedgerAdmin(ledger_url))


async def _open_tab(page: Page, engine: AirflowStack, run: str) -> None:
    """Go where a person goes: to the run, and to the tab that stands there."""
    await page.open(f"{engine.api.base_url}/dags/{BULK}/runs/{quote(run, safe='')}")
    tab = "[...document.querySelectorAll('a')].find(link => link.textContent.trim() == 'Jimeng')"
    await _until(page, tab)
    await page.evaluate(f"{tab}.click()")
    await _until(page, READY)


async def _watch(page: Page) -> None:
    """See it go on: some landed, some at the vendor, some to come."""
    landed = f"+(({TAB}.getElementById('headline').textContent.match(/^(\\d+) of 12 landed/) || [])[1] || 0)"
    await _until(page, f"{landed} >= 3 && {TAB}.querySelector('#legend .running')")
    assert await page.evaluate(f"{TAB}.getElementById('state').textContent") == "running"
    assert await page.evaluate(f"{TAB}.querySelectorAll('#chart .area').length") == 1
    assert await page.evaluate(f"{TAB}.querySelectorAll('#legend li').length") >= 3
    await asyncio.sleep(1)
    await _picture(page, "ui-progress")


async def _play(page: Page) -> None:
    """Play a result within the tab: its time goes on."""
    # What is out of sight is not loaded.
    await page.evaluate(f"{TAB}.getElementById('gallery').scrollIntoView()")
    await _until(
        page, f"{TAB}.querySelector('.item video') && {TAB}.querySelector('.item video').readyState >= 2"
    )
    await page.evaluate(f"{TAB}.querySelector('.item').click()")
    await _until(page, f"{TAB}.querySelector('#body video').currentTime > 0.3")
    assert await page.evaluate(f"{TAB}.querySelector('#body video').videoWidth") > 100
    await page.evaluate(f"{TAB}.querySelector('#detail .close').click()")


async def _decide(page: Page, admin: LedgerAdmin) -> None:
    """Release the unknown through the page, with a reason; the ledger has both."""
    button = f"{TAB}.querySelector('[data-action=release]:not([disabled])')"
    await _until(page, f"{TAB}.getElementById('state').textContent != 'running' && {button}")
    await page.evaluate(f"{TAB}.getElementById('decide').scrollIntoView()")
    await _picture(page, "ui-unknown")
    await page.evaluate(f"{TAB}.getElementById('gallery').scrollIntoView()")
    await _until(
        page, f"[...{TAB}.querySelectorAll('.item video')].slice(0, 5).every(v => v.readyState >= 2)"
    )
    await _picture(page, "ui-gallery")
    (row,) = admin.page(Wanted(states=frozenset({TaskState.UNKNOWN}), dag_id=BULK), limit=5).records
    await page.evaluate(f"{button}.click()")
    await page.evaluate(f"{TAB}.getElementById('ask-reason').value = 'no such task in the console'")
    await page.evaluate(f"{TAB}.getElementById('ask-yes').click()")
    await _until(page, f"{TAB}.getElementById('decide').hidden")
    done = admin.get(row.id)
    assert done is not None
    assert done.state is TaskState.RELEASED
    assert "anna in Airflow's UI" in done.note
    assert "no such task in the console" in done.note


def _others_stay_out(engine: AirflowStack, run: str, admin: LedgerAdmin) -> None:
    """Nobody, another DAG's editor and a reader get as far as they may."""
    session = requests.Session()
    session.trust_env = False
    base = f"{engine.api.base_url}/jimeng"
    (row, *_) = admin.page(Wanted(states=frozenset({TaskState.LANDED}), dag_id=BULK), limit=1).records
    looks = [
        f"{base}/view/{BULK}/{run}",
        f"{base}/api/dags/{BULK}/progress?run_id={quote(run)}&task=imitate",
        f"{base}/api/dags/{BULK}/items?run_id={quote(run)}&task=imitate",
        f"{base}/api/dags/{BULK}/results/{row.id}?run_id={quote(run)}",
    ]
    change = f"{base}/api/dags/{BULK}/unknowns/{row.id}/release"

    def statuses(name: str | None) -> list[int]:
        headers = {} if name is None else {"Authorization": f"Bearer {token(engine, name)}"}
        body: dict[str, Any] = {"revision": row.revision, "reason": "for fun"}
        told = [session.get(url, headers=headers, timeout=30).status_code for url in looks]
        return [*told, session.post(change, json=body, headers=headers, timeout=30).status_code]

    assert statuses(None) == [401] * 5
    assert statuses("otto") == [403] * 5
    assert statuses("vera") == [200] * 4 + [403]
    assert statuses("anna") == [200] * 4 + [409]


async def _until(page: Page, holds: str, seconds: float = 180.0) -> None:
    """Wait until an expression is true; a busy machine takes its time."""
    deadline = time.monotonic() + seconds
    while not await page.evaluate(f"Boolean({holds})"):
        assert time.monotonic() < deadline, f"it did not come to pass: {holds}"
        await asyncio.sleep(0.2)


async def _picture(page: Page, name: str) -> None:
    folder = os.environ.get("JIMENG_UI_PICTURES")
    if folder:
        # As the gallery's picture: where this machine keeps its results is of no interest.
        place = f"[...{TAB}.querySelectorAll('#facts dt')].find(dt => dt.textContent == 'results and report')"
        await page.evaluate(f"(dt => dt && (dt.nextSibling.textContent = 's3://studio/videos'))({place})")
        picture = await page.screenshot()
        await asyncio.to_thread(Path(folder, f"{name}.png").write_bytes, picture)
