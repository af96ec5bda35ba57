# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The test run's own promises: a home of its own, no traffic to elsewhere, a database server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from sqlalchemy import create_engine, text

from tests.engine.chaos.rendezvous import Rendezvous
from tests.loopback import LoopbackGuard, OutsideTrafficError, is_this_machine
from tests.postgres import leashed


def test_airflow_lives_in_a_throw_away_home(airflow_home):
    from airflow.configuration import conf

    assert os.environ["AIRFLOW_HOME"] == str(airflow_home)
    assert conf.get("database", "sql_alchemy_conn").startswith(f"sqlite:///{airflow_home}")
    assert conf.get("core", "dags_folder").startswith(str(airflow_home))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.0.1", "::1", "localhost", "0.0.0.0", "127.1", None, b"127.0.0.1"]
)
def test_loopback_is_this_machine(host):
    assert is_this_machine(host)


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "10.0.0.1", "example.com", "2001:db8::1", "127.0.0.1.example.com"]
)
def test_anything_else_is_not(host):
    assert not is_this_machine(host)


def test_a_connection_to_elsewhere_is_refused_and_remembered(_loopback_guard: LoopbackGuard):
    with socket.socket() as sock, pytest.raises(OutsideTrafficError, match=r"192\.0\.2\.1:80"):
        sock.connect(("192.0.2.1", 80))
    assert _loopback_guard.refused == ["192.0.2.1:80"]
    _loopback_guard.refused.clear()


def test_no_name_is_looked_up():
    with pytest.raises(socket.gaierror):
        socket.create_connection(("jimeng.example.com", 80))


def test_a_fresh_database_is_empty(postgres_database):
    assert postgres_database.startswith("postgresql+psycopg2://")
    engine = create_engine(postgres_database)
    try:
        with engine.connect() as connection:
            tables = "select count(*) from pg_tables where schemaname = 'public'"
            assert connection.execute(text(tables)).scalar() == 0
    finally:
        engine.dispose()


def test_airflow_has_its_tables_where_a_dag_is_tested(airflow_metadata):
    engine = create_engine(airflow_metadata)
    try:
        with engine.connect() as connection:
            assert connection.execute(text("select count(*) from dag_run")).scalar() == 0
    finally:
        engine.dispose()


def test_a_leashed_program_ends_with_its_starter():
    leashed_sleep = leashed([sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"])
    starter = (
        "import subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", starter, *leashed_sleep]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
    gone, alive = psutil.wait_procs([child], timeout=10)
    assert (gone, alive) == ([child], [])


_CLOCKS = """
import json, time
import airflow_provider_jimeng.client.aio, airflow_provider_jimeng.client.sync
import airflow_provider_jimeng.lifecycle.settle as module
from tests.engine.chaos.rendezvous import Rendezvous
from pathlib import Path
import datetime as dt, os, sys

def off():
    dates = [each.__init__.__kwdefaults__["now"]() for each in (
        airflow_provider_jimeng.client.sync.SyncClient, airflow_provider_jimeng.client.aio.AsyncClient)]
    now = dt.datetime.now(dt.UTC)
    return [module.time.time() - time.time(), *((each - now).total_seconds() for each in dates)]

told = [off()]
for seconds in (3600.0, -3600.0, 0.0):
    Rendezvous(Path(os.environ["JIMENG_CHAOS_FOLDER"])).jump(seconds)
    module.time.sleep(0.3)
    told.append(off())
print(json.dumps(told))
"""


def test_the_products_clock_can_be_set_in_a_process_of_the_harness(tmp_path):
    meeting = Rendezvous(tmp_path)
    environment = {**os.environ, **meeting.environment}
    done = subprocess.run(
        [sys.executable, "-c", _CLOCKS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for told, expected in zip(json.loads(done.stdout), (0.0, 3600.0, -3600.0, 0.0), strict=True):
        assert told == pytest.approx([expected] * 3, abs=1.0)
