# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Manifests for tests: written to a disk, opened, read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from airflow_provider_jimeng.api.models import MOTION_IMITATION
from airflow_provider_jimeng.bulk.manifest import Manifest, open_manifest
from airflow_provider_jimeng.media.target import Target

IMAGE = "https://img.example/a.png"
VIDEO = "https://vid.example/b.mp4"


def local(uri: str) -> Target:
    return Target(LocalFileSystem(), uri, uri)


def manifest_of(source: object) -> Manifest:
    return open_manifest(
        str(source) if isinstance(source, Path) else source, resolve=local, default_req_key=MOTION_IMITATION
    )


def line(**fields: Any) -> bytes:
    """Return a good line of JSON, with fields added or replaced; ``...`` takes one away."""
    values = {"image": IMAGE, "video": VIDEO, **fields}
    return json.dumps({key: each for key, each in values.items() if each is not ...}).encode() + b"\n"
