# Licensed under the Apache License, Version 2.0. See LICENSE.
"""``python -m tests.mutation CODE --tests FOLDER... [--budget SECONDS] [--records FILE] [-- -k X]``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import pickle
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import conftest  # noqa: F401  first: it gives Airflow a home
from tests.mutation.baseline import Baseline, Watch
from tests.mutation.changes import Mutant, mutants
from tests.mutation.trial import Order, Trial, imported, in_place, tried
from tests.postgres import PostgresServer

_ARGUMENTS = ("-q", "-p", "no:cacheprovider", "-o", "timeout=0", "-o", "faulthandler_timeout=0")


class Report:
    """Prints each survivor and keeps every trial in a file, a line each."""

    def __init__(self, records: Path | None) -> None:
        # Pytest's capture takes the usual output while it runs.
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        self._records = records
        self._began = time.monotonic()
        self.tried = self.alive = 0

    def add(self, trial: Trial) -> None:
        mutant = trial.mutant
        self.tried += 1
        self.alive += trial.noticed_by is None
        if trial.noticed_by is None:
            print(f"{mutant} (of {trial.tests} tests, {trial.left_out} left out)", file=self._out)
        if self._records is not None:
            record = {
                "path": str(mutant.path),
                "line": mutant.line,
                "what": mutant.what,
                "place": [mutant.node, mutant.number],
                "noticed_by": trial.noticed_by,
                "tests": trial.tests,
                "left_out": trial.left_out,
            }
            with self._records.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:.0f} s] {text}", file=self._out)


class _Loop:
    """A plugin that tries changes where pytest would run the tests that it has collected."""

    def __init__(
        self, chosen: Sequence[Mutant], options: argparse.Namespace, report: Report, left: Path
    ) -> None:
        self._chosen, self._options, self._report, self._left = chosen, options, report, left
        self._watch = Watch(sorted({each.path.parent for each in chosen}))

    def begin(self) -> None:
        """Watch what is imported, also by ``conftest.py`` before a session starts."""
        self._watch.begin()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for name in sorted({each.module for each in self._chosen}):
            importlib.import_module(name.removesuffix(".__init__"))
        self._watch.end()
        baseline = self._baseline(session.items)
        self._report.say(
            f"{len(session.items)} tests, {len(baseline.useless)} of them judge nothing: {baseline.useless}"
        )
        order = Order(baseline, self._options.budget)
        items = {each.nodeid: each for each in session.items}
        late = []
        for mutant in self._chosen:
            trial = None
            if not baseline.is_done_at_import(mutant.path, mutant.line):
                trial = tried(
                    mutant,
                    order,
                    lambda change, tests: in_place(change, [items[each] for each in tests], baseline),
                )
            if trial is None:
                late.append(mutant)
            else:
                self._report.add(trial)
        self._report.say(f"left out, since they failed on the code as it is too: {order.dropped}")
        known = [name for name in sys.modules if not name.startswith(("airflow_provider_jimeng", "tests"))]
        self._left.write_bytes(pickle.dumps((baseline, late, known, self._report.tried, self._report.alive)))
        return True

    def _baseline(self, items: Sequence[pytest.Item]) -> Baseline:
        child = os.fork()
        if child == 0:
            try:
                self._left.write_bytes(pickle.dumps(self._watch.run(items)))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        found = pickle.loads(self._left.read_bytes())
        assert isinstance(found, Baseline)
        return found


@contextlib.contextmanager
def _postgres() -> Iterator[None]:
    """Start one server for all children, which would each start their own."""
    if "JIMENG_TEST_POSTGRES_URL" in os.environ:
        yield
        return
    server = PostgresServer().start()
    os.environ["JIMENG_TEST_POSTGRES_URL"] = server.url.render_as_string(hide_password=False)
    try:
        yield
    finally:
        server.stop()


def _in_a_child(arguments: Sequence[str], loop: _Loop) -> None:
    """Collect the tests and try what needs no import in a child, so that this process stays without them."""
    with tempfile.TemporaryFile() as printed:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.dup2(printed.fileno(), 1)
                loop.begin()
                status = int(pytest.main(list(arguments), plugins=[loop]))
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status:
            printed.seek(0)
            sys.stdout.write(printed.read().decode(errors="replace"))
            raise SystemExit("the tests could not be collected or tried")


def _load(names: Sequence[str]) -> None:
    """Import what is not the product's, so that no child has to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    # Airflow looks at its providers.
    for name in [each for each in sys.modules if each.startswith("airflow_provider_jimeng")]:
        del sys.modules[name]


def _chosen(options: argparse.Namespace) -> list[Mutant]:
    files = sorted(options.code.rglob("*.py")) if options.code.is_dir() else [options.code]
    found = [each for path in files for each in mutants(path)]
    if options.again is not None:
        lines = [json.loads(line) for line in options.again.read_text(encoding="utf-8").splitlines()]
        noticed = {(each["path"], *each["place"]) for each in lines if each["noticed_by"] is not None}
        found = [each for each in found if (str(each.path), each.node, each.number) not in noticed]
    random.Random(options.seed).shuffle(found)
    number, of = (int(each) for each in options.shard.split("/"))
    return found[number::of][: options.limit]


def _options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("code", type=Path)
    parser.add_argument("--tests", nargs="+", required=True)
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds of tests for a change")
    parser.add_argument("--limit", type=int, default=None, help="a sample of so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shard", default="0/1", help="I/N: every Nth change, from the Ith on")
    parser.add_argument(
        "--again", type=Path, default=None, help="records of a run: what was noticed then is left out"
    )
    parser.add_argument(
        "--records", type=Path, default=None, help="where every trial is written, a line each"
    )
    # What comes after -- is pytest's.
    given = [*sys.argv[1:], "--"]
    return parser.parse_args(given[: given.index("--")]), given[given.index("--") + 1 : -1]


def main() -> int:
    options, more = _options()
    chosen = _chosen(options)
    report = Report(options.records)
    arguments = [*_ARGUMENTS, *more]
    with tempfile.TemporaryDirectory() as folder, _postgres():
        left = Path(folder) / "left"
        _in_a_child([*arguments, *options.tests], _Loop(chosen, options, report, left))
        kept: Any = pickle.loads(left.read_bytes())
        baseline, late, known, report.tried, report.alive = kept
        report.say(f"{report.tried} tried, {report.alive} of them survived; {len(late)} need a process each")
        _load(known)
        order = Order(baseline, options.budget)
        for mutant in late:
            trial = tried(mutant, order, lambda change, tests: imported(change, tests, baseline, arguments))
            assert trial is not None
            report.add(trial)
        report.say(f"left out, since they failed on the code as it is too: {order.dropped}")
    report.say(
        f"{report.tried} changes tried, {report.tried - report.alive} noticed, {report.alive} survived"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
