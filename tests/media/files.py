# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Real media files for tests, and a server that gives them away in every way that servers have."""

from __future__ import annotations

import io
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image


def image(kind: str = "PNG", width: int = 640, height: int = 480, *, noise: bool = False) -> bytes:
    """Return an image file."""
    pixels = np.zeros((height, width, 3), np.uint8)
    if noise:
        pixels = np.random.default_rng(7).integers(0, 255, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


@lru_cache(maxsize=32)
def video(
    container: str = "mp4",
    *,
    width: int = 320,
    height: int = 240,
    frames: int = 25,
    faststart: bool = False,
    audio_only: bool = False,
    noise: bool = False,
) -> bytes:
    """Return a video file of 25 frames a second."""
    options = {"movflags": "faststart"} if faststart and container in ("mp4", "mov") else {}
    # A file, since the index is moved to the front by reading what was written.
    with (
        tempfile.NamedTemporaryFile(suffix=f".{container}") as out,
        av.open(out.name, "w", format=container, options=options) as made,
    ):
        if audio_only:
            sound = made.add_stream("aac", rate=44100)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 44100
            for packet in (*sound.encode(frame), *sound.encode(None)):
                made.mux(packet)
            return _finished(made, out.name)
        stream = made.add_stream("libvpx" if container == "webm" else "libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if container != "webm":
            stream.options = {"preset": "ultrafast"}
        chance = np.random.default_rng(7)
        for number in range(frames):
            pixels = np.full((height, width, 3), number % 255, np.uint8)
            if noise:
                pixels = chance.integers(0, 255, (height, width, 3), np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                made.mux(packet)
        for packet in stream.encode(None):
            made.mux(packet)
        return _finished(made, out.name)


def _finished(made: Any, path: str) -> bytes:
    made.close()
    return Path(path).read_bytes()


@dataclass
class Served:
    """
    A file as a server gives it.

    :param ranges: whether it knows ``Range``.
    :param statuses: what it answers with, request by request; the last one stays.
    :param announced: the length that it tells, where that is not the true one.
    :param pause: seconds before each answer.
    """

    content: bytes = b""
    ranges: bool = True
    statuses: list[int] = field(default_factory=lambda: [200])
    announced: int | None = None
    pause: float = 0.0
    endless: bool = False
    location: str | None = None
    requests: int = 0
    sent: int = 0


class FileServer(ThreadingHTTPServer):
    """Serves files by name, and counts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, Served] = {}

    def add(self, name: str, content: bytes = b"", **how: Any) -> str:
        """Serve a file; return its URL."""
        self.files[name] = Served(content, **how)
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        file = self.server.files.get(self.path.lstrip("/").partition("?")[0])
        if file is None:
            self.send_error(404)
            return
        status = file.statuses[min(file.requests, len(file.statuses) - 1)]
        file.requests += 1
        time.sleep(file.pause)
        if status != 200:
            self.send_response(status)
            if file.location:
                self.send_header("Location", file.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, start = file.content, 0
        asked = self.headers.get("Range", "")
        if file.ranges and asked.startswith("bytes="):
            first, _, last = asked[6:].partition("-")
            start = int(first)
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = content[start : int(last) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(content) - 1}/{len(file.content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(file.announced or len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
            while file.endless:
                self.wfile.write(bytes(65536))
                file.sent += 65536
        except OSError:
            return
        file.sent += len(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[FileServer]:
    """Serve until the end of the block."""
    server = FileServer()
    thread = threading.Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
