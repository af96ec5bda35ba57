# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The emulator's command line: serve, make sample media, or switch faults of one that runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from airflow_provider_jimeng.api.locations import is_loopback_host
from airflow_provider_jimeng.emulator.config import INPUTS, RESULTS, EmulatorConfig
from airflow_provider_jimeng.emulator.faults import Fault
from airflow_provider_jimeng.emulator.journal import JournalError
from airflow_provider_jimeng.emulator.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.make_media is not None:
            return _make_media(options)
        faults = [Fault.parse(text) for text in options.fault]
        if options.control is not None:
            return _control(options, faults)
        config = _config(options)
    except ValueError as error:
        parser.error(str(error))
    try:
        return asyncio.run(_serve(config, faults))
    except (OSError, JournalError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    defaults = EmulatorConfig()
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_jimeng.emulator",
        description="A faithful local vendor, with faults and a ledger of what was paid.",
    )
    parser.add_argument("--host", default=defaults.host, help="address to bind (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8090, help="0 picks a free one (default: %(default)s)")
    parser.add_argument("--access-key", default=defaults.access_key, help="(default: %(default)s)")
    parser.add_argument(
        "--secret-key",
        default=os.environ.get("JIMENG_EMULATOR_SECRET_KEY", defaults.secret_key),
        help="default: $JIMENG_EMULATOR_SECRET_KEY, else a fixed one for tests",
    )
    parser.add_argument("--session-token", help="make the key a temporary one that needs this token")
    parser.add_argument(
        "--concurrency", type=int, default=defaults.concurrency, help="slots per req_key; 0: unlimited"
    )
    parser.add_argument(
        "--duration", type=float, help="seconds per task; default: 18 per second of template video"
    )
    parser.add_argument("--jitter", type=float, default=0.0, help="share by which durations vary, 0 to 1")
    parser.add_argument("--speed", type=float, default=1.0, help="scales durations, task and URL expiry")
    parser.add_argument("--submit-qps", type=float, help="submits a second before 50429")
    parser.add_argument("--query-qps", type=float, help="queries a second before 50429")
    parser.add_argument("--results", choices=RESULTS, default="render", help="(default: %(default)s)")
    parser.add_argument(
        "--inputs", choices=INPUTS, help="default: decode where results are rendered, else ignore"
    )
    parser.add_argument(
        "--render-height", type=int, default=defaults.render_height, help="(default: %(default)s)"
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=defaults.pictures,
        help="pictures per task of a product that makes pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--render-workers", type=int, default=1, help="processes that render (default: %(default)s)"
    )
    parser.add_argument("--media", metavar="DIR", help="serve this folder under /media/")
    parser.add_argument("--state", metavar="FILE", help="remember every task across restarts")
    parser.add_argument("--seed", type=int, help="repeat random faults, jitter and ids")
    parser.add_argument(
        "--clock-offset", type=float, default=0.0, help="seconds the gateway's clock is ahead"
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="ON:KIND[,NAME=VALUE...]", help="may be repeated"
    )
    parser.add_argument(
        "--control", metavar="URL", help="send --fault (or --clear-faults) to a running emulator"
    )
    parser.add_argument(
        "--clear-faults", action="store_true", help="with --control: switch all faults off first"
    )
    parser.add_argument(
        "--make-media", metavar="DIR", help="make sample images and template videos, and exit"
    )
    parser.add_argument("--images", type=int, default=4, help="with --make-media (default: %(default)s)")
    parser.add_argument("--videos", type=int, default=3, help="with --make-media (default: %(default)s)")
    return parser


def _config(options: argparse.Namespace) -> EmulatorConfig:
    return EmulatorConfig(
        host=options.host,
        port=options.port,
        access_key=options.access_key,
        secret_key=options.secret_key,
        session_token=options.session_token,
        concurrency=options.concurrency or None,
        duration=options.duration,
        jitter=options.jitter,
        speed=options.speed,
        submit_qps=options.submit_qps,
        query_qps=options.query_qps,
        results=options.results,
        inputs=options.inputs,
        pictures=options.pictures,
        render_height=options.render_height,
        render_workers=options.render_workers,
        media_dir=options.media,
        state=options.state,
        seed=options.seed,
        clock_offset=options.clock_offset,
    )


async def _serve(config: EmulatorConfig, faults: Sequence[Fault]) -> int:
    server = Server(config, faults)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stopped.set)
    try:
        await server.start()
        print(f"Jimeng emulator on http://{config.host}:{server.port}", flush=True)
        if not is_loopback_host(config.host):
            print(
                f"warning: {config.host} is not loopback. Whoever reaches it can read what was submitted, "
                "switch faults on and forget all tasks without a key, and have this machine fetch URLs.",
                file=sys.stderr,
                flush=True,
            )
        await server.stopped.wait()
    finally:
        await server.stop()
    return 0


def _control(options: argparse.Namespace, faults: Sequence[Fault]) -> int:
    url = f"{options.control.rstrip('/')}/_emulator/faults"
    if not url.startswith(("http://", "https://")):
        raise ValueError("--control: must be the emulator's http URL")
    calls: list[tuple[str, bytes | None]] = []
    if options.clear_faults:
        calls.append(("DELETE", None))
    if faults:
        calls.append(("POST", json.dumps(options.fault).encode()))
    calls.append(("GET", None))
    try:
        for method, body in calls:
            request = urllib.request.Request(url, body, method=method)  # noqa: S310 - its scheme is checked above
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
                text = answer.read().decode()
    except urllib.error.URLError as error:
        print(f"error: {url}: {error.reason}", file=sys.stderr)
        return 1
    print(text)
    return 0


def _make_media(options: argparse.Namespace) -> int:
    # Imported here: it needs Pillow and PyAV, which serving cheap results does not.
    from airflow_provider_jimeng.emulator.sample_media import make_media

    for path in make_media(options.make_media, images=options.images, videos=options.videos):
        print(path)
    return 0
