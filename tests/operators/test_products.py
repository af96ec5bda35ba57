# Licensed under the Apache License, Version 2.0. See LICENSE.
"""2.0 with its switch, and products with a body of their own: all their pictures land, none is paid twice."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_jimeng.api.models import MOTION_IMITATION, MOTION_IMITATION_2
from airflow_provider_jimeng.bulk.content import Mine
from airflow_provider_jimeng.emulator import result_tag
from airflow_provider_jimeng.exceptions import (
    JimengInputError,
    JimengLandingError,
    JimengOutputExistsError,
)
from airflow_provider_jimeng.hooks import results
from airflow_provider_jimeng.hooks.bulk import harvest_over
from airflow_provider_jimeng.hooks.jimeng import JimengHook
from airflow_provider_jimeng.hooks.landing import fetch_from_vendor
from airflow_provider_jimeng.ledger.admin import LedgerAdmin
from airflow_provider_jimeng.ledger.keys import content_key
from airflow_provider_jimeng.ledger.parts import part_key
from airflow_provider_jimeng.ledger.records import Provenance
from airflow_provider_jimeng.lifecycle.wanted import Request
from airflow_provider_jimeng.media.download import download
from airflow_provider_jimeng.operators.jimeng import JimengBatchOperator

from tests.legs import Bench, DagRun, Output

if TYPE_CHECKING:
    from airflow_provider_jimeng.media.download import Downloaded

CUT = "cut_result_first_second_switch"
PICTURES = "jimeng_t2i_v40"
POSTER: dict[str, Any] = {"prompt": "a paper lantern over a lake", "size": 4194304}


def poster(bench: Bench) -> str:
    return str(bench.folder / "out" / "poster.jpeg")


def draw(bench: Bench, run: str = "run-1", *, output: str | None = None, **body: Any) -> Any:
    """Run the three building blocks for a product that makes pictures."""
    dag_run = DagRun(run)
    bench.submit(dag_run, req_key=PICTURES, body={**POSTER, **body})
    bench.wait(Output("submit"), dag_run, before_landing=True)
    return bench.land(Output("wait"), dag_run, output=output or poster(bench))


def tasks(bench: Bench) -> list[dict[str, Any]]:
    return list(bench.emu.ledger()["tasks"].values())


# -- 2.0 -------------------------------------------------------------------------------------------------


def test_the_switch_of_2_0_is_sent_and_is_another_content(bench: Bench) -> None:
    bench.imitate(req_key=MOTION_IMITATION_2)
    bench.imitate(
        DagRun("run-2"),
        req_key=MOTION_IMITATION_2,
        options={CUT: "{{ dag_run.conf['cut'] if dag_run.conf else False }}"},
        output=str(bench.folder / "whole.mp4"),
    )
    first, second = tasks(bench)
    assert CUT not in first["content"]
    assert second["content"] == {
        "req_key": MOTION_IMITATION_2,
        "image_urls": [bench.image],
        "video_url": bench.video,
        CUT: False,
    }


def test_a_body_that_says_what_the_arguments_say_is_the_same_content(bench: Bench) -> None:
    body = {"image_urls": [bench.image], "video_url": bench.video}
    asked = {"image_url": bench.image, "video_url": bench.video, "req_key": MOTION_IMITATION_2}
    for run, said in enumerate(({}, {CUT: False}, {CUT: True})):
        one = bench.submit(DagRun(f"a-{run}"), **asked, options=said)
        other = bench.submit(DagRun(f"b-{run}"), body={**body, **said}, req_key=MOTION_IMITATION_2)
        assert (one["content_key"], one["task_id"]) == (other["content_key"], other["task_id"])
    assert bench.accepted == 3


def test_the_identity_of_earlier_releases_is_kept(bench: Bench) -> None:
    """Keys as 0.1.0 made them: another one would pay for everybody's contents again."""
    image, video = "https://media.test/a.png", "https://media.test/v.mp4"
    hook = JimengHook()
    keys = []
    for inputs, body in (
        ({"image_url": image, "video_url": video}, {"image_urls": [image], "video_url": video}),
        (
            {"image_urls": [image], "video_url": video, CUT: True},
            {"image_urls": [image], "video_url": video, CUT: True},
        ),
    ):
        wanted = hook.want(Request(req_key=MOTION_IMITATION_2, body=body))
        scope = wanted.scope
        then = content_key(
            account=scope.account,
            endpoint=scope.endpoint,
            req_key=MOTION_IMITATION_2,
            inputs=inputs,
            variant=0,
            force_new=None,
        )
        keys.append((wanted.key, then))
    assert all(now == then for now, then in keys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"req_key": MOTION_IMITATION, "options": {CUT: False}}, "options: this product has no option"),
        ({"req_key": MOTION_IMITATION_2, "options": {"cut": False}}, "it has cut_result_first_second_switch"),
        ({"req_key": MOTION_IMITATION_2, "options": {CUT: 0}}, "true or false is needed"),
        ({"req_key": PICTURES, "body": POSTER, "options": {CUT: True}}, "body goes without .* options"),
    ],
)
def test_a_switch_that_the_product_does_not_have_costs_nothing(
    bench: Bench, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(JimengInputError, match=words):
        bench.submit(**arguments)
    assert bench.accepted == 0


def test_the_hook_takes_the_switch_too(bench: Bench) -> None:
    hook = JimengHook()
    one = hook.submit_motion_imitation(
        bench.image, bench.video, req_key=MOTION_IMITATION_2, options={CUT: False}
    )
    body = {"image_urls": [bench.image], "video_url": bench.video, CUT: False}
    assert hook.submit_task(MOTION_IMITATION_2, body) == one
    assert bench.accepted == 1


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_manifest_mixes_both_products_each_with_slots_and_switches_of_its_own(
    bench: Bench, deferrable: bool
) -> None:
    bench.connect(max_concurrency={MOTION_IMITATION: 1, MOTION_IMITATION_2: 2})
    bench.emu.configure(concurrency={MOTION_IMITATION: 1, MOTION_IMITATION_2: 2})
    lines = [
        {"id": f"n-{number}", "image": f"{bench.emu.url}/media/{number}.png", "video": bench.video}
        for number in range(6)
    ]
    for line in lines[::2]:
        line["req_key"] = MOTION_IMITATION_2
    summary = DagRun().task(
        JimengBatchOperator,
        "batch",
        manifest=lines,
        output=str(bench.folder / "out"),
        options={MOTION_IMITATION_2: {CUT: False}},
        deferrable=deferrable,
    )
    assert (summary["landed"], summary["submits"]) == (6, 6)
    said = sorted((task["req_key"], task["content"].get(CUT)) for task in tasks(bench))
    assert said == [(MOTION_IMITATION, None)] * 3 + [(MOTION_IMITATION_2, False)] * 3
    usage = bench.emu.ledger()["slots"]
    assert usage[MOTION_IMITATION]["max_in_use"] == 1
    assert usage[MOTION_IMITATION_2]["max_in_use"] <= 2
    # The vendor refused nothing: neither product took the other's slots.
    assert bench.emu.ledger()["totals"]["refused"] == 0


def test_switches_of_a_product_that_has_none_stop_a_run_before_it_pays(bench: Bench) -> None:
    with pytest.raises(JimengInputError, match="options: 'jimeng_t2i_v40' is none of the products"):
        DagRun().task(
            JimengBatchOperator,
            "batch",
            manifest=[{"image": bench.image, "video": bench.video}],
            output=str(bench.folder / "out"),
            options={PICTURES: {CUT: True}},
        )
    assert bench.accepted == 0


# -- pictures --------------------------------------------------------------------------------------------


def test_a_picture_lands_as_what_it_is_and_is_paid_once(bench: Bench) -> None:
    landed = draw(bench)
    assert landed["content_type"] == "image/jpeg"
    assert "further" not in landed
    tag = result_tag(Path(poster(bench)).read_bytes())
    assert tag is not None
    assert tag["content"]["prompt"] == POSTER["prompt"]
    assert draw(bench, "run-2") == landed
    assert (bench.accepted, bench.states()) == (1, ["landed"])


def test_the_sensor_tells_one_link_and_all_of_them_where_there_are_several(bench: Bench) -> None:
    run = DagRun()
    bench.submit(run, req_key=PICTURES, body=POSTER)
    told = bench.wait(Output("submit"), run)
    assert ".jpeg?" in told["video_url"]
    assert "result_urls" not in told
    bench.emu.configure(pictures=3)
    run = DagRun("run-2")
    bench.submit(run, req_key=PICTURES, body={**POSTER, "prompt": "three lanterns"})
    told = bench.wait(Output("submit"), run)
    assert len(told["result_urls"]) == 3
    assert told["result_urls"][0] == told["video_url"]
    asked = JimengHook().get_result(told["task_id"], PICTURES)
    assert len(asked["result_urls"]) == 3


@pytest.mark.parametrize("how", ["blocks", "all in one"])
def test_all_pictures_of_a_task_are_landed(bench: Bench, how: str) -> None:
    bench.emu.configure(pictures=3)
    if how == "blocks":
        landed = draw(bench)
    else:
        landed = bench.imitate(
            image_url=None, video_url=None, body=POSTER, req_key=PICTURES, output=poster(bench)
        )
    folder = Path(poster(bench)).parent
    names = ["poster.jpeg", "poster-2.jpeg", "poster-3.jpeg"]
    tags = [result_tag((folder / name).read_bytes()) for name in names]
    assert [tag and tag["number"] for tag in tags] == [1, 2, 3]
    told = [landed, *landed["further"]]
    assert [Path(each["uri"].removeprefix("file://")).name for each in told] == names
    assert [each["content_type"] for each in told] == ["image/jpeg"] * 3
    assert len({each["sha256"] for each in told}) == 3
    again = draw(bench, "run-2")
    assert {name: again[name] for name in ("uri", "sha256", "further")} == {
        name: landed[name] for name in ("uri", "sha256", "further")
    }
    assert bench.accepted == 1


def test_a_try_that_died_between_two_pictures_goes_on_with_what_is_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.emu.configure(pictures=3)
    fetched: list[int] = []
    genuine = fetch_from_vendor

    def fetch(hook: Any, watched: Any, into: Path, **options: Any) -> Downloaded:
        fetched.append(options["part"])
        if fetched == [2, 3]:
            raise KeyboardInterrupt
        return genuine(hook, watched, into, **options)

    monkeypatch.setattr(results, "fetch_from_vendor", fetch)
    with pytest.raises(KeyboardInterrupt):
        draw(bench)
    # Not landed before all of it is: whoever looks would take the first for all there is.
    assert bench.states() == ["succeeded"]
    landed = draw(bench, "run-2")
    assert len(landed["further"]) == 2
    assert fetched == [2, 3, 3, 1]
    assert (bench.accepted, bench.states()) == (1, ["landed"])


def test_another_place_gets_all_pictures_without_asking_the_vendor(bench: Bench) -> None:
    bench.emu.configure(pictures=2)
    first = draw(bench)
    bench.emu.advance(13 * 3600)
    elsewhere = str(bench.folder / "more" / "other.jpeg")
    run = DagRun("run-2")
    reference = bench.submit(run, req_key=PICTURES, body=POSTER)
    copied = bench.land(reference, run, output=elsewhere)
    assert copied["sha256"] == first["sha256"]
    assert [each["sha256"] for each in copied["further"]] == [each["sha256"] for each in first["further"]]
    assert (bench.folder / "more" / "other-2.jpeg").exists()
    assert bench.accepted == 1


def test_a_foreign_file_at_a_further_place_is_kept_and_so_is_the_picture(bench: Bench) -> None:
    bench.emu.configure(pictures=2)
    place = Path(poster(bench)).with_name("poster-2.jpeg")
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    with pytest.raises(JimengOutputExistsError, match="kept at .*\\.jimeng/"):
        draw(bench)
    assert place.read_text() == "mine"
    place.unlink()
    landed = draw(bench, "run-2")
    assert result_tag(place.read_bytes()) is not None
    assert len(landed["further"]) == 1
    assert bench.accepted == 1


def test_a_single_picture_can_be_asked_for(bench: Bench) -> None:
    bench.emu.configure(pictures=4)
    assert "further" not in draw(bench, force_single=True)


def test_a_name_that_says_another_kind_is_kept_and_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    landed = draw(bench, output=str(bench.folder / "poster.png"))
    assert landed["uri"].endswith("/poster.png")
    assert "named as it was asked for, but it is image/jpeg" in caplog.text


def test_pictures_of_a_task_that_was_submitted_elsewhere_land_too(bench: Bench) -> None:
    bench.emu.configure(pictures=2)
    task_id = JimengHook().unsafe_submit(PICTURES, POSTER)
    run = DagRun()
    bench.wait(None, run, vendor_task_id=task_id, req_key=PICTURES)
    landed = bench.land(Output("wait"), run, output=poster(bench))
    assert len(landed["further"]) == 1
    assert bench.rows() == []
    assert bench.land(Output("wait"), run, output=poster(bench))["sha256"] == landed["sha256"]


def test_a_picture_in_place_of_a_video_is_no_result(bench: Bench) -> None:
    """A portal's logo must not be landed as the video that was paid for."""
    bench.emu.configure(pictures=1)
    task_id = JimengHook().unsafe_submit(PICTURES, POSTER)
    run = DagRun()
    told = bench.wait(None, run, vendor_task_id=task_id, req_key=PICTURES)
    with pytest.raises(JimengLandingError, match="no video but 'image/jpeg'"):
        download(told["video_url"], bench.folder / "x", guard=JimengHook().guard, timeout=(2, 2))


def test_prune_and_show_know_of_all_pictures(bench: Bench) -> None:
    bench.emu.configure(pictures=2)
    landed = draw(bench)
    key = bench.rows()[0].content_key
    admin = LedgerAdmin(bench.ledger_url)
    places = admin.landings_of(admin.history(key))[key, 1]
    assert {each.uri for each in places} == {landed["uri"], landed["further"][0]["uri"]}
    assert bench.ledger.landing_at(landed["further"][0]["uri"]).content_key == part_key(key, 2)  # type: ignore[union-attr]
    admin.forget_row(admin.history(key)[0], reason="a test", by="me")
    with sqlite3.connect(bench.ledger_file) as database:
        assert database.execute("SELECT count(*) FROM jimeng_landings").fetchone() == (0,)
    database.close()


def test_the_answer_that_a_row_is_made_of_is_small(bench: Bench) -> None:
    """Pictures as text in the answer would be cut: the query says that it wants links."""
    bench.emu.configure(pictures=3)
    draw(bench)
    (task,) = tasks(bench)
    assert task["pictures"] == 3
    assert task["downloads_completed"] == 3
    assert len(json.dumps(JimengHook().get_result(bench.rows()[0].task_id or "", PICTURES))) < 2000


def test_a_leg_that_was_called_for_another_products_slot_frees_that_slot(bench: Bench) -> None:
    reference = bench.submit(DagRun("other"), req_key=MOTION_IMITATION_2)
    bench.emu.advance(7200.0)
    bench.alter("UPDATE jimeng_tasks SET submitted_at = submitted_at - 100")
    over = [{"task_id": reference["task_id"]}]
    event = {"status": "turn", "req_key": MOTION_IMITATION_2, "over": over}
    harvest_over(JimengHook(), event, Mine(Provenance(run_id="mine"), None), MOTION_IMITATION)

    assert bench.states() == ["succeeded"]
    assert bench.accepted == 1


def test_a_deferred_run_of_two_products_waits_in_both_queues(bench: Bench) -> None:
    products = [MOTION_IMITATION, MOTION_IMITATION_2]
    bench.connect(max_concurrency=1)
    bench.emu.configure(duration=3600.0)
    for each in products:
        bench.submit(DagRun(each), req_key=each)
    line = {"image": bench.image, "video": bench.video, "variant": 1}
    instance = DagRun("run-2").instance(
        JimengBatchOperator,
        "batch",
        manifest=[{**line, "id": each, "req_key": each} for each in products],
        output=str(bench.folder / "out"),
        on_input_changed="reuse",
        deferrable=True,
    )
    left = instance.leg()
    told = json.loads(left.kwargs)
    assert {each["req_key"] for each in (told["turn"], *told["more_turns"])} == set(products)
    assert bench.accepted == 2

    bench.emu.configure(duration=0.1)
    bench.emu.advance(7200.0)
    assert instance.leg(left, instance.watch(left)) is not None
    assert instance.clear().finish()["landed"] == 2
    assert bench.accepted == 4
