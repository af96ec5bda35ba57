# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Faults: what goes wrong, when, how often, and for whom."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

#: What may go wrong where. "done" is decided when the task is accepted, and shows when it ends.
KINDS: Mapping[str, frozenset[str]] = {
    "submit": frozenset(
        {
            "code", "gateway", "wrapped", "html", "empty", "truncated", "data-null", "task-id-number",
            "reset", "delay", "hang", "drip", "redirect",
        }
    ),
    "query": frozenset(
        {
            "code", "gateway", "wrapped", "html", "empty", "truncated", "data-null", "status", "no-url",
            "race", "reset", "delay", "hang", "drip", "redirect",
        }
    ),
    "done": frozenset({"code"}),
    "download": frozenset(
        {
            "status", "html", "empty", "corrupt", "short", "cut", "expired",
            "reset", "delay", "hang", "drip", "redirect",
        }
    ),
}  # fmt: skip

#: Kinds of answers to a submit that can't be given without a task.
NEEDS_TASK = frozenset({"task-id-number"})

DEFAULT_CODES: Mapping[tuple[str, str], int] = {
    ("submit", "code"): 50500,
    ("query", "code"): 50500,
    ("done", "code"): 50500,
    ("query", "race"): 50215,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One thing that goes wrong.

    :param on: ``submit``, ``query``, ``done`` (the verdict of a task) or ``download``.
    :param kind: see :data:`KINDS` and the table of ``docs/emulator.md``.
    :param times: how often it strikes; 0 is without end. Default: once, and without end where ``probability``
        is given or the kind is ``race``.
    :param skip: matching calls that are let through first.
    :param probability: chance for each matching call; draws are repeatable with the emulator's ``seed``.
    :param match: text that the call must hold: part of the body (a URL, a req_key) or of the task id.
    :param created: for a submit: whether a task is created (and billed) all the same.
    :param code: business code; with ``gateway`` the CodeN.
    :param name: the gateway's ``Code`` word, where it isn't the usual one.
    :param message: the vendor's words, where they aren't the usual ones.
    :param http_status: where it isn't the usual one.
    :param status: the status word of a query's answer.
    :param seconds: length of a delay, a hang, a dripping answer, or the age up to which a race lasts; real
        seconds.
    :param location: target of a redirect.
    :param digest: whether a corrupt download comes with the true file's digests.
    :param retry_after: value of a ``Retry-After`` header.
    :param skew: seconds to put on the ``Date`` header.
    """

    on: str
    kind: str
    times: int | None = None
    skip: int = 0
    probability: float = 1.0
    match: str | None = None
    created: bool = False
    code: int | None = None
    name: str | None = None
    message: str | None = None
    http_status: int | None = None
    status: str | None = None
    seconds: float | None = None
    location: str | None = None
    digest: bool = True
    retry_after: float | None = None
    skew: float | None = None

    def __post_init__(self) -> None:
        if self.on not in KINDS:
            raise ValueError(f"on: must be one of {', '.join(KINDS)}, got {self.on!r}")
        if self.kind not in KINDS[self.on]:
            raise ValueError(f"kind: {self.on} knows {', '.join(sorted(KINDS[self.on]))}, got {self.kind!r}")
        if not 0.0 < self.probability <= 1.0:
            raise ValueError(f"probability: must be above 0 and at most 1, got {self.probability!r}")
        for name in ("times", "skip", "seconds"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}: must not be negative, got {value!r}")
        if self.created and self.on != "submit":
            raise ValueError("created: only a submit creates a task")

    @property
    def limit(self) -> int | None:
        """How often it may strike; ``None`` is without end."""
        if self.times is not None:
            return self.times or None
        return None if self.probability < 1.0 or self.kind == "race" else 1

    @property
    def effective_code(self) -> int:
        """The code, with the default of this kind applied."""
        if self.code is not None:
            return self.code
        if self.kind == "gateway":
            return 100009
        if self.kind == "wrapped":
            return 50215
        return DEFAULT_CODES.get((self.on, self.kind), 50500)

    @property
    def makes_task(self) -> bool:
        """Whether a struck submit still creates a task."""
        return self.on == "submit" and (self.created or self.kind in NEEDS_TASK)

    @property
    def label(self) -> str:
        """How the ledger counts it."""
        if self.kind == "code":
            return str(self.effective_code)
        if self.kind in ("gateway", "wrapped"):
            return f"{self.kind}-{self.effective_code}"
        if self.kind == "html":
            return f"html-{self.http_status or 502}"
        return self.kind

    @classmethod
    def parse(cls, text: str) -> Fault:
        """
        Read ``on:kind[,name=value...]``; a number as the kind is short for ``code``.

        ``submit:50500,created=true`` - ``query:race,seconds=20`` - ``download:corrupt,probability=0.1``

        :raises ValueError: naming what is wrong.
        """
        head, *pairs = text.split(",")
        on, colon, kind = head.strip().partition(":")
        if not colon:
            raise ValueError(f"fault: expected on:kind[,name=value...], got {text!r}")
        values: dict[str, Any] = {}
        for pair in pairs:
            name, equals, value = pair.strip().partition("=")
            if not equals:
                raise ValueError(f"fault: expected name=value, got {pair!r}")
            values[name] = value
        if kind.isdecimal():
            values["code"], kind = kind, "code"
        return cls.from_dict({"on": on, "kind": kind, **values})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fault:
        """
        Build from JSON or text values.

        :raises ValueError: naming the field that is unknown or of a wrong type.
        """
        types = {item.name: item.type for item in dataclasses.fields(cls)}
        for name in values:
            if name not in types:
                raise ValueError(f"{name}: no such field of a fault")
        if not {"on", "kind"} <= set(values):
            raise ValueError("on, kind: both are needed")
        return cls(**{name: _coerce(name, str(types[name]), value) for name, value in values.items()})


def _coerce(name: str, kind: str, value: Any) -> Any:
    if value is None and "None" in kind:
        return None
    base = kind.partition(" ")[0]
    try:
        if base == "bool":
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if base == "int":
            return int(str(value))
        if base == "float":
            return float(value)
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{name}: must be of type {base}, got {value!r}") from None
    if not isinstance(value, str):
        raise ValueError(f"{name}: must be a string, got {value!r}")
    return value


def _in_time(fault: Fault, age: float | None, done: bool) -> bool:
    if fault.kind == "race":
        return age is not None and age < (20.0 if fault.seconds is None else fault.seconds)
    return done or fault.kind != "no-url"


@dataclass(slots=True)
class ActiveFault:
    """A fault with its count."""

    fault_id: int
    fault: Fault
    hits: int = 0
    skipped: int = 0

    @property
    def spent(self) -> bool:
        """Whether it will never strike again."""
        return self.fault.limit is not None and self.hits >= self.fault.limit

    def shown(self) -> dict[str, Any]:
        """JSON form, without the defaults."""
        values = {
            item.name: getattr(self.fault, item.name)
            for item in dataclasses.fields(self.fault)
            if getattr(self.fault, item.name) != item.default
        }
        return {"id": self.fault_id, **values, "hits": self.hits, "spent": self.spent}


class FaultBook:
    """Active faults in their order: the first that matches a call strikes."""

    def __init__(self, rng: random.Random, faults: Sequence[Fault] = ()) -> None:
        self._rng = rng
        self._active: list[ActiveFault] = []
        self._next = 1
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> int:
        """Switch a fault on; returns its id."""
        self._active.append(ActiveFault(self._next, fault))
        self._next += 1
        return self._next - 1

    def remove(self, fault_id: int | None = None) -> int:
        """Switch one fault off, or all; returns how many."""
        before = len(self._active)
        self._active = [item for item in self._active if fault_id is not None and item.fault_id != fault_id]
        return before - len(self._active)

    def strike(
        self, on: str, subject: str, *, age: float | None = None, done: bool = False
    ) -> ActiveFault | None:
        """
        Choose the fault of one call, and count it.

        :param subject: what ``match`` is sought in.
        :param age: seconds since the task was accepted, for races.
        :param done: whether the task is done, for answers that only a finished task gets.
        """
        for item in self._active:
            fault = item.fault
            if fault.on != on or item.spent or (fault.match is not None and fault.match not in subject):
                continue
            if not _in_time(fault, age, done):
                continue
            if item.skipped < fault.skip:
                item.skipped += 1
                continue
            if fault.probability < 1.0 and self._rng.random() >= fault.probability:
                continue
            item.hits += 1
            return item
        return None

    @staticmethod
    def put_back(item: ActiveFault) -> None:
        """The call was refused for a reason of its own: the fault is still to come."""
        item.hits -= 1

    def shown(self) -> list[dict[str, Any]]:
        """All faults as JSON, spent ones too."""
        return [item.shown() for item in self._active]
