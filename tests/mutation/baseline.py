# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Which test runs which line, and how long a test takes: what decides the tests that a change meets."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coverage

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Baseline:
    """The tests on the code as it is."""

    #: Test -> seconds, its fixtures included.
    seconds: dict[str, float]
    #: File -> line -> the tests that run it.
    tests: dict[str, dict[int, list[str]]]
    #: File -> the lines that are run while modules are imported.
    at_import: dict[str, list[int]]
    #: Tests that fail, or are skipped, on the code as it is: they judge nothing.
    useless: list[str]

    def is_done_at_import(self, path: Path, line: int) -> bool:
        return line in self.at_import.get(str(path), ())

    def of_line(self, path: Path, line: int) -> list[str]:
        """Return the tests that run a line, in their order; those of its file where the line has none."""
        lines = self.tests.get(str(path), {})
        return self._sorted(path, lines.get(line) or self._of_all(lines))

    def of_file(self, path: Path) -> list[str]:
        """Return the tests that run anything of a file, and all where there is nothing in it to be run."""
        return self._sorted(path, self._of_all(self.tests.get(str(path), {})) or self.seconds)

    def all(self, path: Path) -> list[str]:
        return self._sorted(path, self.seconds)

    @staticmethod
    def _of_all(lines: dict[int, list[str]]) -> set[str]:
        return {each for tests in lines.values() for each in tests}

    def _sorted(self, path: Path, tests: Iterable[str]) -> list[str]:
        """Put first what mirrors the file's folder, and of that what runs most of the file in a second."""
        mirror = f"tests/{path.parent.name}/"
        run = Counter(each for named in self.tests.get(str(path), {}).values() for each in named)
        return sorted(
            set(tests) - set(self.useless),
            key=lambda each: (not each.startswith(mirror), -run[each] / self.seconds[each], each),
        )


class Watch:
    """Coverage of some folders, by test; what is run outside of tests counts as import."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._coverage = coverage.Coverage(
            data_file=None, config_file=False, include=[f"{each.resolve()}/*" for each in folders]
        )

    def begin(self) -> None:
        self._coverage.start()

    def end(self) -> None:
        self._coverage.stop()

    def run(self, items: Sequence[pytest.Item]) -> Baseline:
        """Run the tests; meant for a forked process, which leaves the usual one without their traces."""
        seconds: dict[str, float] = {}
        useless = []
        verdict = Verdict()
        items[0].config.pluginmanager.register(verdict)
        self._coverage.start()
        for item, following in zip(items, [*items[1:], None], strict=True):
            self._coverage.switch_context(item.nodeid)
            verdict.passed = verdict.failed = False
            began = time.perf_counter()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            seconds[item.nodeid] = time.perf_counter() - began
            if verdict.failed or not verdict.passed:
                useless.append(item.nodeid)
        self._coverage.stop()
        return self._told(seconds, useless)

    def _told(self, seconds: dict[str, float], useless: list[str]) -> Baseline:
        data = self._coverage.get_data()
        tests: dict[str, dict[int, list[str]]] = {}
        at_import: dict[str, list[int]] = {}
        for name in data.measured_files():
            path = str(Path(name).relative_to(Path.cwd()))
            for line, contexts in data.contexts_by_lineno(name).items():
                if "" in contexts:
                    at_import.setdefault(path, []).append(line)
                if named := [each for each in contexts if each]:
                    tests.setdefault(path, {})[line] = named
        return Baseline(seconds, tests, at_import, useless)


class Verdict:
    """A plugin that remembers how the test at hand ends."""

    def __init__(self) -> None:
        self.passed = self.failed = False

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.failed = self.failed or report.failed
        self.passed = self.passed or (report.when == "call" and report.passed)
