# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A place for a result: all of a file or none of it, and what can't be read is never what isn't there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_jimeng.exceptions import JimengInputError, JimengLandingError
from airflow_provider_jimeng.media.target import Target


def local(path: Path) -> Target:
    return Target(LocalFileSystem(auto_mkdir=True), str(path), str(path))


def memory(path: str) -> Target:
    return Target(MemoryFileSystem(), path, f"memory:/{path}")


@pytest.fixture(params=["local", "memory"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "local":
        return local(tmp_path / "folder" / "a.mp4")
    return memory(f"/{tmp_path.name}/folder/a.mp4")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"bytes of a clip" * 1000)
    return path


def test_a_file_is_published_read_and_replaced(target: Target, source: Path, tmp_path: Path) -> None:
    assert target.stat() is None
    target.check_writable()
    stat = target.publish(source)
    assert stat.size == 15000
    assert target.stat() == stat
    assert target.sha256() == hashlib.sha256(source.read_bytes()).hexdigest()

    target.fetch(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    source.write_bytes(b"other")
    assert target.publish(source).size == 5


def test_a_copy_beside_it_is_a_file_of_its_own(target: Target, source: Path) -> None:
    target.publish(source)
    safe = target.beside("key-1.mp4")
    assert safe.uri == f"{target.uri.removesuffix('a.mp4')}.jimeng/key-1.mp4"
    target.copy_to(safe)
    assert safe.sha256() == target.sha256()


def test_nothing_half_written_is_ever_seen(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = local(tmp_path / "out" / "a.mp4")
    target.publish(source)
    before = target.sha256()

    def fail(*_: Any) -> None:
        assert target.sha256() == before
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    source.write_bytes(b"new")
    with pytest.raises(JimengLandingError, match="No space left"):
        target.publish(source)
    assert target.sha256() == before
    assert os.listdir(tmp_path / "out") == ["a.mp4"]


@pytest.mark.parametrize("act", ["stat", "sha256", "fetch", "publish", "copy_to"])
def test_what_cannot_be_done_says_that_nothing_is_lost(tmp_path: Path, source: Path, act: str) -> None:
    class Broken:
        """A store that is down."""

        protocol = "s3"

        def __getattr__(self, name: str) -> Any:
            def fail(*_: Any, **__: Any) -> Any:
                raise ConnectionError("down\nsecret trace")

            return fail

    target = Target(Broken(), "bucket/a.mp4", "s3://bucket/a.mp4")
    arguments: dict[str, list[Any]] = {"fetch": [tmp_path / "x"], "publish": [source], "copy_to": [target]}
    with pytest.raises(JimengLandingError, match="task is not lost") as told:
        getattr(target, act)(*arguments.get(act, []))
    assert "s3://bucket/a.mp4" in str(told.value)
    assert "secret trace" not in str(told.value)


def test_a_store_that_swallows_bytes_is_noticed(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = memory("/short/a.mp4")

    def short(self: Any, lpath: str, rpath: str, **_: Any) -> None:
        self.pipe_file(rpath, b"some")

    monkeypatch.setattr(MemoryFileSystem, "put_file", short)
    with pytest.raises(JimengLandingError, match="not what was written"):
        target.publish(source)


def test_places_that_take_no_file_are_told_before_anything_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for target in (local(tmp_path), local(Path("/dev/null/a.mp4")), memory("/folder/")):
        with pytest.raises(JimengInputError, match=r"^output: .*[Nn]othing was"):
            target.check_writable()

    monkeypatch.setattr(MemoryFileSystem, "protocol", "s3")

    def denied(self: Any, path: str, **_: Any) -> Any:
        raise PermissionError("Access Denied")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "info", denied)
        with pytest.raises(JimengInputError, match="Access Denied"):
            memory("/none/a.mp4").check_writable()
    with pytest.raises(JimengInputError, match="bucket 'none'"):
        memory("/none/a.mp4").check_writable()


def test_a_store_in_trouble_is_no_place_that_takes_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: Any, path: str, **_: Any) -> Any:
        raise TimeoutError("503 SlowDown")

    monkeypatch.setattr(MemoryFileSystem, "protocol", "s3")
    # s3fs says of every trouble that there is no such bucket; other filesystems raise it.
    for name in ("info", "exists"):
        monkeypatch.setattr(MemoryFileSystem, name, away)
        with pytest.raises(JimengLandingError, match="can't be looked at now.*503 SlowDown"):
            memory("/none/a.mp4").check_writable()


def test_a_disk_in_trouble_is_no_place_that_takes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: Any, **__: Any) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(os, "makedirs", stale)
    with pytest.raises(JimengLandingError, match="Stale file handle"):
        local(tmp_path / "a.mp4").check_writable()


def test_one_file_by_two_names_is_told(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "a").write_bytes(b"a")
    (tmp_path / "real" / "b").write_bytes(b"a")
    one, same, other = (local(tmp_path / each) for each in ("real/a", "link/a", "real/b"))
    assert one.is_same_file(same)
    assert not one.is_same_file(other)
    assert not one.is_same_file(local(tmp_path / "real" / "missing"))
    assert not one.is_same_file(memory(str(tmp_path / "real" / "a")))
    assert memory("/bucket/a").is_same_file(memory("/bucket/a"))
    assert not memory("/bucket/a").is_same_file(memory("/bucket/b"))

    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(JimengLandingError, match="could not be looked at"):
        local(loop / "a").is_same_file(one)
