# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The command: start everything, tell the story, stop everything."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from demo import bulk
from demo.airflow import Airflow, clean_environment
from demo.home import Home
from demo.processes import Children
from demo.sheet import Triple, contact_sheet
from demo.story import MAPPED, SINGLE, Landing, Round, Story
from demo.terminal import Clock, DemoError, Teller
from demo.vendor import Vendor, make_sample_media

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 900.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code: 0 only if everything was as it must be."""
    parser = argparse.ArgumentParser(prog="python demo/run.py", description=__doc__)
    parser.add_argument(
        "--fresh", action="store_true", help="forget what an earlier demo paid for and landed, and start anew"
    )
    parser.add_argument("--keep", action="store_true", help="at the end, keep Airflow running until Ctrl-C")
    parser.add_argument("--home", type=Path, default=ROOT / ".demo", help="folder (default: %(default)s)")
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT_SECONDS, help="give up after so many seconds (%(default)s)"
    )
    chosen = parser.parse_args(arguments)
    clock = Clock(chosen.timeout)
    tell = Teller(clock)
    children = Children()
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        with Home(chosen.home).opened(fresh=chosen.fresh) as home:
            try:
                _show(home, children, clock, tell, keep=chosen.keep)
            finally:
                _stop(children, tell)
    except DemoError as error:
        print(f"\nThe demo FAILED: {error}", file=sys.stderr)
        print("Nothing is left running. To start anew: make demo ARGS=--fresh", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; nothing is left running.", file=sys.stderr)
        return 130
    print(f"\nOK, in {clock.passed:.0f} s; nothing is left running.")
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop(children: Children, tell: Teller) -> None:
    # A second Ctrl-C must not leave half of them running.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    tell.step("stopping everything")
    children.stop()


def _show(home: Home, children: Children, clock: Clock, tell: Teller, *, keep: bool) -> None:
    tell.title(
        "A real Airflow, a local stand-in for the vendor that accepts, renders and remembers, and three "
        f"DAGs.\nEverything is in {home.shown(home.root)}. Ctrl-C stops it."
    )
    if home.known:
        tell.step("an earlier demo was here: what it paid for is not paid again (--fresh forgets it)")
    media = make_sample_media(home.media)
    tell.step(f"sample media: {len(media)} files in {home.shown(home.media)}")
    vendor = Vendor(home, clean_environment())
    children.start(vendor.process)
    environment = {
        **clean_environment(),
        "AIRFLOW_CONN_VOLCENGINE_DEFAULT": vendor.connection,
        "JIMENG_EXAMPLE_MEDIA": vendor.media_url,
        "JIMENG_EXAMPLE_OUTPUT": str(home.results),
    }
    airflow = Airflow(home, ROOT / "dags", environment)
    story = Story(home, airflow, vendor, children, clock, tell)
    story.wait("the local vendor", vendor.answers)
    tell.step(f"the local vendor listens on {vendor.url}")
    airflow.migrate()
    tell.step("Airflow's database is ready; starting its components (half a minute or so)")
    children.start(airflow.api_server)
    children.start(*airflow.others)
    story.wait("Airflow's components", airflow.healthy)
    tell.step(f"Airflow is up: {airflow.url}")

    first, runs = story.first()
    _report(tell, first)
    tell.title("A manifest as one task")
    bulk_first = bulk.run(story)
    bulk.report(bulk_first, home)
    tell.title("The same again")
    second = story.again(runs)
    _compare(first, second)
    bulk_second = bulk.run(story)
    bulk.compare(bulk_first, bulk_second)
    bulk.report(bulk_second, home)
    _where_to_look(home, first)
    if keep:
        _stay(story, children, airflow, vendor)


def _report(tell: Teller, result: Round) -> None:
    tell.title("What landed")
    rows = [
        (
            "single" if each.dag_id == SINGLE else "mapped",
            each.name,
            f"{each.returned['bytes']:,}",
            str(each.film),
            each.task_id,
            "submitted" if each.new else "reused",
        )
        for each in result.landings
    ]
    tell.table(("DAG", "file", ">bytes", "video, decoded", "vendor's task", "this round"), rows)
    files, pairs = len(result.landings), len({each.task_id for each in result.landings})
    print(
        f"\n  {files} results of {pairs} different pairs of inputs: the two DAGs have one pair in common.\n"
        f"  {_submits(result)}"
    )
    if result.retries:
        print(
            f"  Airflow retried tasks on its own, {result.retries} times: each try found what was paid for."
        )


def _compare(first: Round, second: Round) -> None:
    """Hold the second round against the first: the same files, byte for byte, and nothing paid."""
    if second.new:
        raise DemoError(f"the second time the vendor accepted {second.new} submits; it must be none")
    if [each.fingerprint for each in second.landings] != [each.fingerprint for each in first.landings]:
        raise DemoError(
            "the second time other files, or other bytes, are where the first time's results were"
        )
    print(f"\n  {len(second.landings)} results: the same files, the same bytes.\n  {_submits(second)}")


def _submits(result: Round) -> str:
    return (
        f"Submits that the vendor accepted: {result.new} new, {result.accepted} in all. "
        f"Submits that it refused: {result.refused}."
    )


def _where_to_look(home: Home, result: Round) -> None:
    mapped = [each for each in result.landings if each.dag_id == MAPPED]
    sheet = contact_sheet([_triple(home, each) for each in mapped[:4]], home.results / "contact-sheet.jpg")
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    print(
        "\nLook at it\n"
        f"  a video:                {opener} {home.shown(mapped[1].path)}\n"
        f"  four of them at once:   {opener} {home.shown(sheet)}\n"
        f"  the manifest's gallery: {opener} {home.shown(home.results / 'bulk' / 'report.html')}\n"
        "  again, for nothing:     make demo\n"
        "  Airflow's own pages:    make demo ARGS=--keep"
    )


def _triple(home: Home, landing: Landing) -> Triple:
    index = int(landing.name.split("-")[1]) - 1
    templates = sorted(home.media.glob("template-*.mp4"))
    image = home.media / landing.path.with_suffix(".png").name
    return Triple(image, templates[index % len(templates)], landing.path)


def _stay(story: Story, children: Children, airflow: Airflow, vendor: Vendor) -> None:
    print(f"\nAirflow: {airflow.url}    the vendor's book: {vendor.url}    Ctrl-C ends both", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            children.check()
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
