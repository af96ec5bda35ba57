# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The page in a real browser, within a frame as Airflow makes it, and without the rest of Airflow."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from airflow_provider_jimeng.ledger.states import TaskState

from tests.bulk.chromium import Page, chromium_page
from tests.ui.rows import DAG, RUN, Rows, instance, video
from tests.ui.site import Site, application, token_of

if TYPE_CHECKING:
    from tests.ui.auth import PerDagAuthManager

HOSTILE = "<img src=x onerror=alert(1)>\u202e</script>"
TAB = "document.querySelector('iframe').contentDocument"
INSTANCES = [instance("manifest", operator_name="_PythonDecoratedOperator", state="success"), instance()]


@pytest.fixture
def film(tmp_path: Path) -> bytes:
    from airflow_provider_jimeng.emulator.render import render
    from airflow_provider_jimeng.emulator.sample_media import make_media

    image, template = make_media(tmp_path / "media", images=1, videos=1)
    made = tmp_path / "film.mp4"
    render(image, template, made, height=120, tag={"task_id": "1"})
    return made.read_bytes()


@contextlib.asynccontextmanager
async def tab(
    manager: PerDagAuthManager, url: str, home: Path, user: str, theme: str = "light"
) -> AsyncIterator[tuple[Page, str]]:
    """Yield the page that has the tab in a frame, as a user sees it, and the site's address."""
    with Site(application(url, INSTANCES)) as site:
        async with chromium_page(home, width=1280, height=1400) as page:
            await page.call("Network.setCookie", name="_token", value=token_of(manager, user), url=site.url)
            await page.open(f"{site.url}/frame/{theme}/{DAG}/{quote(RUN)}")
            await page.until(f"{TAB}?.documentElement?.dataset.ready")
            yield page, site.url
            assert [each for each in page.errors if "can escape its sandboxing" not in each] == []
            assert all(each.startswith((site.url, "about:")) for each in page.requests)


async def test_a_run_is_shown_played_and_decided_about(
    manager: PerDagAuthManager, rows: Rows, film: bytes, tmp_path: Path
):
    for number in range(30):
        rows.landed(f"item-{number:02d}.mp4", film if number > 26 else video())
    rows.submitted()
    rows.failed(50411, HOSTILE)
    unknown = rows.unknown(ago=400)
    rows.summary(total=40, reused=2, invalid=1)
    async with tab(manager, rows.bench.url, tmp_path / "profile", "anna", "dark") as (page, _):
        assert await page.evaluate(f"{TAB}.getElementById('headline').textContent") == "32 of 40 landed"
        assert await page.evaluate(f"{TAB}.documentElement.dataset.theme") == "dark"
        assert "⟨U+202E⟩" in await page.evaluate(f"{TAB}.getElementById('groups').textContent")
        assert await page.evaluate(f"{TAB}.querySelectorAll('#groups img').length") == 0
        await _see_it_play(page)
        await _page_on(page)
        await _adopt(page)
    after = rows.bench.now(unknown)
    assert (after.state, after.task_id) == (TaskState.SUBMITTED, "771234")
    assert "anna in Airflow's UI: found it" in after.note


async def _see_it_play(page: Page) -> None:
    video = f"{TAB}.querySelector('.item video')"
    await page.until(f"{video}.readyState >= 2")
    assert await page.evaluate(f"{video}.paused")
    await page.evaluate(f"{TAB}.querySelector('.item').dispatchEvent(new Event('pointerenter'))")
    await page.until(f"{video}.currentTime > 0.1")
    # What only begins as a video does is told in its place, and nowhere else.
    await page.evaluate(f"{TAB}.querySelectorAll('.item')[10].scrollIntoView()")
    await page.until(f"{TAB}.querySelectorAll('.item')[10].textContent.includes('This browser')")


async def _page_on(page: Page) -> None:
    assert await page.evaluate(f"{TAB}.querySelectorAll('.item').length") == 24
    await page.evaluate(f"{TAB}.getElementById('more').click()")
    await page.until(f"{TAB}.querySelectorAll('.item').length == 30 && {TAB}.getElementById('more').hidden")
    await page.evaluate(f"{TAB}.querySelector('[data-shown=trouble]').click()")
    await page.until(f"{TAB}.querySelectorAll('.item').length == 2")


async def _adopt(page: Page) -> None:
    await page.evaluate(f"{TAB}.querySelector('[data-action=adopt]').click()")
    await page.evaluate(f"{TAB}.getElementById('ask-yes').click()")
    assert "Which task" in await page.evaluate(f"{TAB}.getElementById('ask-problem').textContent")
    await page.evaluate(f"{TAB}.getElementById('ask-id').value = ' 771234 '")
    await page.evaluate(f"{TAB}.getElementById('ask-yes').click()")
    assert "Say why" in await page.evaluate(f"{TAB}.getElementById('ask-problem').textContent")
    await page.evaluate(f"{TAB}.getElementById('ask-reason').value = 'found it in the console'")
    await page.evaluate(f"{TAB}.getElementById('ask-yes').click()")
    await page.until(f"!{TAB}.getElementById('ask').open && {TAB}.getElementById('decide').hidden")


async def test_who_may_only_read_is_offered_no_decision(
    manager: PerDagAuthManager, rows: Rows, tmp_path: Path
):
    rows.unknown(ago=400)
    async with tab(manager, rows.bench.url, tmp_path / "profile", "vera") as (page, _):
        assert not await page.evaluate(f"{TAB}.getElementById('decide').hidden")
        assert await page.evaluate(f"{TAB}.querySelectorAll('[data-action]').length") == 0
        assert "permission to edit" in await page.evaluate(f"{TAB}.getElementById('unknowns').textContent")


async def test_a_ledger_that_is_not_here_is_said_so(manager: PerDagAuthManager, tmp_path: Path):
    url = f"sqlite:///{tmp_path}/none.db"
    async with tab(manager, url, tmp_path / "profile", "anna") as (page, _):
        told = await page.evaluate(f"{TAB}.getElementById('alerts').textContent")
        assert "There is no ledger at" in told
        assert "If your tasks run on other machines" in told
        assert await page.evaluate(f"{TAB}.getElementById('all').hidden")
