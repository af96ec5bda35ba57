# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A place for a result on any fsspec filesystem, and the few things done to it."""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_jimeng.api.parsing import clean_text
from airflow_provider_jimeng.exceptions import JimengInputError, JimengLandingError
from airflow_provider_jimeng.media.names import NOTE as NOTE, SAFE_FOLDER as SAFE_FOLDER

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stat:
    """Size in bytes, and the store's own mark of the content where it has one."""

    size: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """
    A file on a filesystem.

    :param fs: an fsspec filesystem, with credentials; never printed.
    :param path: the path within ``fs``.
    :param uri: how people and the ledger name it.
    """

    fs: Any
    path: str
    uri: str

    @property
    def is_local(self) -> bool:
        """Whether the file is on this machine's disk."""
        protocol = self.fs.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def beside(self, name: str) -> Target:
        """Return a file in the safe folder next to this one."""
        return Target(
            self.fs,
            posixpath.join(posixpath.dirname(self.path), SAFE_FOLDER, name),
            f"{self.uri.rpartition('/')[0]}/{SAFE_FOLDER}/{name}",
        )

    def is_same_file(self, other: Target) -> bool:
        """
        Return whether the other is this file by another name: a linked folder, another connection's keys.

        Two stores that have an object of the same path each can't be told apart: they are taken for one.

        :raises JimengLandingError: that can't be told now.
        """
        if not (self.is_local and other.is_local):
            return bool(self.fs.protocol == other.fs.protocol and self.path == other.path)
        try:
            return os.path.samefile(self.path, other.path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._trouble("could not be looked at", error) from error

    def numbered(self, number: int) -> Target:
        """
        Return a file next to this one for a further result: ``poster.png`` makes ``poster-2.png``.

        :param number: which result, from 2.
        """
        name = posixpath.basename(self.path)
        stem, dot, suffix = name.rpartition(".")
        other = f"{stem}-{number}.{suffix}" if dot and stem else f"{name}-{number}"
        return Target(
            self.fs,
            posixpath.join(posixpath.dirname(self.path), other),
            f"{self.uri.rpartition('/')[0]}/{other}",
        )

    def stat(self) -> Stat | None:
        """
        Return size and etag, ``None`` if the file is not there.

        :raises JimengLandingError: it could not be read, which is never the same as not being there.
        """
        try:
            self.fs.invalidate_cache()
            info = self.fs.info(self.path)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._trouble("could not be looked at", error) from error
        etag = info.get("ETag") or info.get("etag")
        return Stat(int(info.get("size") or 0), str(etag).strip('"') if etag else None)

    def sha256(self) -> str:
        """Return the SHA-256 of the file, read in pieces."""
        digest = hashlib.sha256()
        try:
            with self.fs.open(self.path, "rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except Exception as error:
            raise self._trouble("could not be read", error) from error
        return digest.hexdigest()

    def fetch(self, into: Path) -> None:
        """Copy the file to the local disk."""
        try:
            self.fs.get_file(self.path, str(into))
        except Exception as error:
            raise self._trouble("could not be read", error) from error

    def publish(self, source: Path, *, exclusive: bool = False) -> Stat:
        """
        Put a local file here, all of it or nothing.

        On a disk a reader never sees half a file (temporary name, flush, rename); an object store shows an
        object only once it is complete.

        :param exclusive: refuse, on a disk, a file that came there meanwhile; an object store can't.
        """
        try:
            if self.is_local:
                self._publish_local(source, exclusive=exclusive)
            else:
                self.fs.put_file(str(source), self.path)
        except Exception as error:
            raise self._trouble("could not be written", error) from error
        stat = self.stat()
        if stat is None or stat.size != source.stat().st_size:
            raise self._trouble("is not what was written", None)
        return stat

    def _publish_local(self, source: Path, *, exclusive: bool = False) -> None:
        parent = os.path.dirname(self.path)
        os.makedirs(parent, exist_ok=True)
        temporary = os.path.join(parent, f".{os.path.basename(self.path)}.{uuid.uuid4().hex}.part")
        try:
            with open(source, "rb") as reader, open(temporary, "wb") as writer:
                while chunk := reader.read(_CHUNK):
                    writer.write(chunk)
                writer.flush()
                os.fsync(writer.fileno())
            if not (exclusive and _linked(temporary, self.path)):
                os.replace(temporary, self.path)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)

    def copy_to(self, other: Target) -> None:
        """Copy the file to another name on the same filesystem; on a store that can, without a download."""
        try:
            if self.is_local:
                other._publish_local(Path(self.path))
            else:
                self.fs.cp_file(self.path, other.path)
        except Exception as error:
            raise self._trouble("could not be copied out of the way", error) from error

    def check_writable(self) -> None:
        """
        Refuse a place that can't take a file, before anything is paid.

        :raises JimengInputError: the folder can't be made or written, or the store says that there is no such
            bucket, or none for these keys.
        :raises JimengLandingError: the place can't be looked at now.
        """
        try:
            if self.is_local:
                self._check_local()
            else:
                self._check_bucket()
        except JimengInputError:
            raise
        except Exception as error:
            if not _is_final(error):
                raise self._trouble("can't be looked at now", error) from error
            raise JimengInputError(
                f"output: {self.uri} can't be written ({type(error).__name__}: {_first_line(error)}). "
                "Nothing was submitted"
            ) from error

    def _check_local(self) -> None:
        if os.path.isdir(self.path):
            raise JimengInputError(
                f"output: {self.uri} is a folder; it must name the file. Nothing was submitted"
            )
        parent = os.path.dirname(self.path)
        os.makedirs(parent, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent):
            pass

    def _check_bucket(self) -> None:
        if self.path.endswith("/"):
            raise JimengInputError(f"output: {self.uri} must name the file. Nothing was submitted")
        bucket = self.path.lstrip("/").partition("/")[0]
        if self.fs.protocol == "memory" or not bucket or self.fs.exists(bucket):
            return
        try:
            # Some filesystems say of every trouble that the bucket does not exist; this one names it.
            self.fs.info(bucket)
        except FileNotFoundError:
            raise JimengInputError(
                f"output: the bucket {bucket!r} of {self.uri} does not exist. Nothing was submitted"
            ) from None

    def _trouble(self, what: str, error: Exception | None) -> JimengLandingError:
        reason = f" ({type(error).__name__}: {_first_line(error)})" if error is not None else ""
        return JimengLandingError(
            f"{self.uri} {what}{reason}. The task is not lost: the result is stored by a retry, within 12 "
            "hours of its submit, and nothing is submitted again"
        )


def _is_final(error: Exception) -> bool:
    """Return whether a place stays as it is until a person acts: its form, or the rights to it, are wrong."""
    if isinstance(error, (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError)):
        return True
    return isinstance(error, OSError) and error.errno in (errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL)


def _linked(existing: str, new: str) -> bool:
    """
    Give a file a further name that nothing has yet; tell whether this filesystem can.

    :raises FileExistsError: something has it.
    """
    try:
        os.link(existing, new)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def _first_line(error: Exception) -> str:
    # A store's words: they may hold escape sequences, or a URL with its signature.
    return clean_text(str(error).partition("\n")[0], 200)
