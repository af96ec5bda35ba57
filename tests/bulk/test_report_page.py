# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The gallery in a real browser: quick with 5,000 items, deaf to what hostile manifests say."""

from __future__ import annotations

import functools
import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_jimeng.bulk.items import Fate, Item, Outcome
from airflow_provider_jimeng.emulator.pictures import cheap_picture

from tests.bulk.chromium import Page, chromium_page
from tests.bulk.runs import folder_at, item, landed, mixed_fates, write_report

ITEMS = 5000
FILTER = "document.querySelector('#totals [data-outcome={}]').click()"
FOUND = "document.getElementById('found').textContent"
CARDS = "document.querySelectorAll('.card').length"
NAMES = "[...document.querySelectorAll('.card .name')].map(node => node.textContent)"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Return a folder of drawn inputs and results, and the URL of a bucket of it."""
    from airflow_provider_jimeng.emulator.render import render
    from airflow_provider_jimeng.emulator.sample_media import make_media

    folder = tmp_path_factory.mktemp("bucket")
    paths = make_media(folder, images=4, videos=3)
    for at in range(4):
        render(
            paths[at], paths[4 + at % 3], folder / f"result-{at}.mp4", height=180, tag={"task_id": str(at)}
        )
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))
    )
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def _drawn_items(folder: Path, url: str, count: int) -> list[Item]:
    images = sorted(path.name for path in folder.glob("character-*"))
    videos = sorted(path.name for path in folder.glob("template-*"))
    return [
        item(at + 1, image=f"{url}/{images[at % 4]}?sig=1", video=f"{url}/{videos[at % 4 % 3]}?sig=1")
        for at in range(count)
    ]


def _write_run(folder: Path, items: list[Item], out: Path) -> Path:
    target = folder_at(out)
    write_report(target, list(mixed_fates(target, items)))
    for at, each in enumerate(items):
        os.link(folder / f"result-{at % 4}.mp4", out / f"{each.id}.mp4")
    return out / "report.html"


async def test_five_thousand_items_are_looked_through(media: tuple[Path, str], tmp_path: Path):
    folder, url = media
    report = _write_run(folder, _drawn_items(folder, url, ITEMS), tmp_path / "run")
    async with chromium_page(tmp_path / "profile", height=1270) as page:
        await page.open(report.as_uri())
        loaded = await page.evaluate("performance.getEntriesByType('navigation')[0].domComplete")
        print(f"report.html of {ITEMS} items: {report.stat().st_size / 1e6:.2f} MB, {loaded:.0f} ms to load")
        assert loaded < 5000
        assert await page.evaluate(CARDS) <= 30
        assert await page.evaluate(FOUND) == "5,000 of 5,000 items"
        await _see_it_play(page)
        await _take_picture(page)
        await _find_things(page)
        await _go_to_the_end(page)
        assert page.errors == []
        assert {each.split("?")[0].rsplit("/", 1)[0] for each in page.requests} <= {
            url,
            report.parent.as_uri(),
        }
        assert not any("sig=" in each for each in page.requests)


async def _see_it_play(page: Page) -> None:
    await page.until("[...document.querySelectorAll('.card video')].every(video => video.readyState >= 2)")
    await page.until("[...document.querySelectorAll('.card img')].every(image => image.naturalWidth > 0)")
    assert await page.evaluate("[...document.querySelectorAll('video')].every(video => video.paused)")
    box = await page.evaluate("JSON.stringify(document.querySelector('.card').getBoundingClientRect())")
    where = json.loads(box)
    await page.call("Input.dispatchMouseEvent", type="mouseMoved", x=where["x"] + 40, y=where["y"] + 40)
    await page.until(
        "[...document.querySelectorAll('.card')[0].querySelectorAll('video')].every(v => !v.paused)"
    )
    assert await page.evaluate(
        "[...document.querySelectorAll('.card')[1].querySelectorAll('video')].every(v => v.paused)"
    )


async def _take_picture(page: Page) -> None:
    """Take the picture of the docs: JIMENG_REPORT_PICTURE=docs/images/report.png, and look at it."""
    await page.evaluate("document.getElementById('folder').textContent = 's3://studio/2026-11-21'")
    picture = await page.screenshot()
    assert 50_000 < len(picture) < 300_000
    wanted = os.environ.get("JIMENG_REPORT_PICTURE")
    if wanted:
        _keep(wanted, picture)


def _keep(path: str, picture: bytes) -> None:
    Path(path).write_bytes(picture)


async def _find_things(page: Page) -> None:
    await page.evaluate(FILTER.format("failed"))
    failed = await page.evaluate("document.querySelector('#totals [data-outcome=failed] b').textContent")
    assert await page.evaluate(FOUND) == f"{failed} of 5,000 items"
    assert await page.evaluate(
        "[...document.querySelectorAll('.badge')].every(b => b.textContent == 'failed')"
    )
    await page.evaluate(
        "(() => { const code = document.getElementById('code'); code.value = '50511'; "
        "code.dispatchEvent(new Event('change')); })()"
    )
    assert (
        await page.evaluate("document.querySelector('.card .note').textContent")
        == "50511 · Post Img Risk Not Pass"
    )
    await page.evaluate("document.getElementById('reset').click()")
    await page.evaluate(
        "(() => { const search = document.getElementById('search'); search.value = 'CLIP-0012'; "
        "search.dispatchEvent(new Event('input')); })()"
    )
    assert await page.evaluate(FOUND) == "10 of 5,000 items"
    assert (await page.evaluate(NAMES))[0] == "clip-00120"
    await page.evaluate("document.querySelector('.card').click()")
    assert await page.evaluate("document.querySelector('#detail h3').textContent") == "clip-00120"
    await page.evaluate("document.getElementById('close').click()")
    await page.evaluate("document.getElementById('reset').click()")


async def _go_to_the_end(page: Page) -> None:
    await page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    await page.until(f"{NAMES}.includes('clip-05000')")
    assert await page.evaluate(CARDS) <= 30


async def test_it_opens_from_a_bucket_and_shows_the_slots(media: tuple[Path, str], tmp_path: Path):
    folder, url = media
    _write_run(folder, _drawn_items(folder, url, 12), folder / "run")
    async with chromium_page(tmp_path / "profile") as page:
        await page.open(f"{url}/run/report.html")
        await page.until(
            "[...document.querySelectorAll('.card video')].every(video => video.readyState >= 2)"
        )
        box = json.loads(
            await page.evaluate("JSON.stringify(document.querySelector('svg').getBoundingClientRect())")
        )
        await page.call(
            "Input.dispatchMouseEvent", type="mouseMoved", x=box["x"] + box["width"] / 3, y=box["y"] + 20
        )
        await page.until("document.getElementById('reading').textContent.includes(' busy at +')")
        assert page.errors == []


HOSTILE = [
    "</script><script>window.owned=1</script>",
    "<img src=x onerror=window.owned=1>",
    "'\"><svg onload=window.owned=1>",
    "{{SCRIPT}}{{ROWS}}",
    "a\u202egpj.exe",
    "zero\u200bwidth",
    "line\u2028separator\x00\x1b[31m",
    "half \ud800 a character",
    "<!--<script>",
    "]]></script>",
    "${window.owned=1}`",
    "__proto__",
]


async def test_a_hostile_manifest_runs_nothing(tmp_path: Path):
    out = folder_at(tmp_path / "run</title><script>window.owned=1")
    fates = []
    for line, text in enumerate(HOSTILE, 1):
        each = item(line, text, image=f"javascript:window.owned=1//{text}", video=f"https://[{text}/{text}")
        fate = landed(each, out, uri=f"{out.uri}/{text}.mp4", message=text, error=text, task_id=text)
        fates.append((fate, each))
    fates.append(
        (Fate(13, "plain", Outcome.FAILED, code=50511, message=HOSTILE[0], error=HOSTILE[1]), item(13))
    )
    write_report(out, fates)
    async with chromium_page(tmp_path / "profile", height=2400) as page:
        await page.open((tmp_path / "run</title><script>window.owned=1" / "report.html").as_uri())
        await page.until("document.documentElement.dataset.ready")
        for at in range(13):
            await page.evaluate(f"document.querySelectorAll('.card')[{at}].click()")
            await page.until("document.querySelector('#detail h3')")
            await page.evaluate("document.getElementById('close').click()")
        await page.until("!document.querySelector('[data-src]')")
        names = await page.evaluate(NAMES)
        assert names[:4] == HOSTILE[:4]
        assert names[4:8] == [
            "a⟨U+202E⟩gpj.exe",
            "zero⟨U+200B⟩width",
            "line⟨U+2028⟩separator⟨U+0000⟩⟨U+001B⟩[31m",
            "half ⟨U+D800⟩ a character",
        ]
        assert await page.evaluate("typeof window.owned") == "undefined"
        assert await page.evaluate("document.scripts.length") == 3
        assert page.errors == []


async def test_a_script_that_gets_in_all_the_same_is_stopped_by_the_policy(tmp_path: Path):
    out = folder_at(tmp_path / "run")
    write_report(out, [(landed(item(1), out), item(1))])
    async with chromium_page(tmp_path / "profile") as page:
        await page.open((tmp_path / "run" / "report.html").as_uri())
        await page.evaluate(
            "(() => { const script = document.createElement('script');"
            " script.textContent = 'window.owned = 1';"
            " document.body.append(script); document.body.insertAdjacentHTML('beforeend',"
            ' \'<img src=x: onerror="window.owned=1"><iframe src="https://127.0.0.1/"></iframe>\'); })()'
        )
        await page.until("true")
        assert await page.evaluate("typeof window.owned") == "undefined"
        assert any("Content Security Policy" in each for each in page.errors)


async def test_a_result_that_is_a_picture_is_shown_as_one(tmp_path: Path):
    target = folder_at(tmp_path / "run")
    picture, film = item(1), item(2)
    fates = [
        (landed(picture, target, uri=f"{target.uri}/poster.jpeg"), picture),
        (landed(film, target), film),
    ]
    write_report(target, fates)
    (tmp_path / "run" / "poster.jpeg").write_bytes(cheap_picture({"task_id": "1"}))
    async with chromium_page(tmp_path / "profile") as page:
        await page.open((tmp_path / "run" / "report.html").as_uri())
        await page.until("document.querySelectorAll('.card').length == 2")
        kinds = "[...document.querySelectorAll('.card')].map(c => c.querySelectorAll('figure')[2]"
        await page.until(f"{kinds}.querySelector('img')?.naturalWidth).includes(64)")
        shown = await page.evaluate(f"{kinds}.querySelector('.stage').firstChild.tagName).join()")
    assert shown.startswith("IMG,")
