# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Who is measured: ours, and what people would write instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contender:
    """
    One way to make items.

    :param key: its DAG is called ``rivals_<key>``.
    :param words: as the tables call it.
    :param ours: whether it is this provider's.
    """

    key: str
    words: str
    ours: bool

    @property
    def dag(self) -> str:
        return f"rivals_{self.key}"


CONTENDERS = (
    Contender("worker", "ours: `JimengBatchOperator` on the worker", True),
    Contender("deferred", "ours: `JimengBatchOperator`, deferred", True),
    Contender("mapped", "ours: `JimengMotionImitationOperator`, mapped", True),
    Contender("mapped_pool", "ours: the same, in a pool of as many slots", True),
    Contender("sdk_pool", "(a) official SDK in a thread pool", False),
    Contender("mapped_sensor", "(b) mapped submit, sensor, download", False),
    Contender("deferrable", "(c) hand-rolled deferrable operator", False),
    Contender("durable", "(d) the same, with Airflow's task state store", False),
)
BY_KEY = {each.key: each for each in CONTENDERS}
