# Licensed under the Apache License, Version 2.0. See LICENSE.
"""One change and its tests: in a forked process, until one fails."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mutation import live
from tests.mutation.baseline import Baseline, Verdict

if TYPE_CHECKING:
    from tests.mutation.changes import Mutant

#: A test may take so long, and so many times what it takes usually; then the change has made it hang.
PATIENCE_SECONDS, PATIENCE_TIMES = 15.0, 10.0
CANNOT = 77
#: Pytest would rewrite plugins that are loaded already.
_LOADED = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


@dataclass(frozen=True)
class Trial:
    """What came of a change."""

    mutant: Mutant
    #: The test that noticed; ``None``: the change survived. A hang names the test that hung.
    noticed_by: str | None
    #: How many tests would be run if none noticed, and how many others run the file.
    tests: int
    left_out: int


class Order:
    """Decides which tests a change meets: those of its line and of its file, as time allows."""

    def __init__(self, baseline: Baseline, budget_seconds: float) -> None:
        self.baseline = baseline
        self._budget = budget_seconds
        self._noticed: dict[Path, Counter[str]] = {}
        #: Tests that also failed on the code as it is.
        self.dropped: list[str] = []

    def tests(self, mutant: Mutant) -> tuple[list[str], int]:
        """Return them in their order, and how many of the file's are left out."""
        baseline = self.baseline
        if baseline.is_done_at_import(mutant.path, mutant.line):
            # A class's defaults, say: a test may see them without running a line of the file.
            near, others = baseline.of_file(mutant.path), baseline.all(mutant.path)
        else:
            near, others = baseline.of_line(mutant.path, mutant.line), baseline.of_file(mutant.path)
        near = [each for each in near if each not in self.dropped]
        known = {*near, *self.dropped}
        far = [each for each in others if each not in known]
        often = self._noticed.get(mutant.path, Counter())
        ordered = sorted(near, key=lambda each: -often[each]) + sorted(far, key=lambda each: -often[each])
        kept: list[str] = []
        spent = 0.0
        for each in ordered:
            spent += self.baseline.seconds[each]
            if spent <= self._budget or not kept:
                kept.append(each)
        return kept, len(ordered) - len(kept)

    def drop(self, test: str) -> None:
        self.dropped.append(test)

    def learn(self, trial: Trial) -> None:
        if trial.noticed_by is not None:
            self._noticed.setdefault(trial.mutant.path, Counter())[trial.noticed_by] += 1


#: Runs tests on a change (``None``: on none), and returns how it ended and the test that it ended with.
Runner = Callable[["Mutant | None", Sequence[str]], "tuple[int, str | None]"]


def tried(mutant: Mutant, order: Order, run: Runner) -> Trial | None:
    """
    Return what came of a change.

    Whatever seems to notice it is run once more on the code as it is, after the same tests: one that fails
    there too is left out from then on, and the change is tried again without it.

    :return: ``None`` if ``run`` can't try this change.
    """
    while True:
        tests, left_out = order.tests(mutant)
        status, last = run(mutant, tests)
        if status == CANNOT:
            return None
        if status == 0:
            return Trial(mutant, None, len(tests), left_out)
        if last is None:
            if run(None, tests[:1])[0] != 0:
                raise RuntimeError("the code as it is can't be imported here either")
            return Trial(mutant, "import", len(tests), left_out)
        usual, culprit = run(None, tests[: tests.index(last) + 1])
        if usual == 0:
            trial = Trial(mutant, last, len(tests), left_out)
            order.learn(trial)
            return trial
        order.drop(culprit or last)


def in_place(
    mutant: Mutant | None, items: Sequence[pytest.Item], baseline: Baseline
) -> tuple[int, str | None]:
    """Run tests on changed functions of modules that were imported already."""

    def run(tell: Callable[[str], None]) -> int:
        if mutant is not None and not live.replace(mutant):
            return CANNOT
        verdict = Verdict()
        items[0].config.pluginmanager.register(verdict)
        for item, following in zip(items, [*items[1:], None], strict=True):
            tell(item.nodeid)
            seconds = PATIENCE_SECONDS + PATIENCE_TIMES * baseline.seconds[item.nodeid]
            signal.setitimer(signal.ITIMER_REAL, seconds)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if verdict.failed:
                return 1
        return 0

    return _forked(run, seconds=float("inf"))


def imported(
    mutant: Mutant | None, tests: Sequence[str], baseline: Baseline, arguments: Sequence[str]
) -> tuple[int, str | None]:
    """Run tests with the changed module imported, in a process that has nothing of the product yet."""

    def run(tell: Callable[[str], None]) -> int:
        if mutant is not None:
            live.Instead(mutant).install()
        return int(pytest.main(["-x", *_LOADED, *arguments, *tests], plugins=[_Teller(tell)]))

    usual = sum(baseline.seconds[each] for each in tests)
    return _forked(run, seconds=60.0 + PATIENCE_TIMES * usual)


class _Teller:
    """A plugin that tells which test is run."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tell(nodeid)


def _forked(run: Callable[[Callable[[str], None]], int], seconds: float) -> tuple[int, str | None]:
    """Return how a child's run ended (0: nothing failed) and what it told last; what it left is removed."""
    folder = tempfile.mkdtemp(prefix="jimeng-mutation-")
    told = Path(folder) / "last"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.tempdir = folder
            status = run(lambda test: None if told.write_text(test) else None)
        finally:
            os._exit(status)
    try:
        return _waited(child, seconds), told.read_text() if told.exists() else None
    finally:
        _end_group(child)
        shutil.rmtree(folder, ignore_errors=True)


def _waited(child: int, seconds: float) -> int:
    until = time.monotonic() + seconds
    pause = 0.005
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)
    _end_group(child)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def _end_group(leader: int) -> None:
    """End what a child started; its group is its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
