# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Years of bulk runs in virtual time: how busy the slots are, what is asked, and what gives way first::

    python -m tests.benchmarks.simulation --slots 200 --accounts 4 --items 1000000 --raised [--records FILE]
    python -m tests.benchmarks.simulation --slots 20 --items 2000 --ledger sqlite

The runner, its window, its questions and its policies are the product's own; simulated are the vendor (tasks
of 180 s, give or take a tenth; answers take 0.2 s), the landing of a result (1 to 3 s each) and, unless
``--ledger sqlite``, the ledger. Accounts share nothing but the machine, so one run follows the other. Without
``--raised`` the connection says nothing of rates: one submit and five queries a second. With it, both are
what the slots need: a submit per slot in 60 s, a query per slot in 10 s.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from typing import Any

from airflow_provider_jimeng.client.settings import DEFAULT_QUERY_QPS, DEFAULT_SUBMIT_QPS

from tests.benchmarks.record import keep, parser_of
from tests.benchmarks.virtual.works import Case, Told, run


def main(arguments: list[str] | None = None) -> int:
    """Simulate, and print the record."""
    parser = parser_of("simulation", __doc__)
    parser.add_argument("--slots", type=int, required=True, help="of all accounts together")
    parser.add_argument("--accounts", type=int, default=1)
    parser.add_argument("--items", type=int, default=1_000_000, help="of all accounts together")
    parser.add_argument("--learned", action="store_true", help="the connection names no slots")
    parser.add_argument("--raised", action="store_true", help="rates of the connection that fit the slots")
    parser.add_argument("--ledger", choices=("memory", "sqlite"), default="memory")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    slots = chosen.slots // chosen.accounts
    cpu, told = time.process_time(), []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(chosen.accounts):
            case = Case(
                items=chosen.items // chosen.accounts,
                slots=slots,
                told=None if chosen.learned else slots,
                submit_qps=max(DEFAULT_SUBMIT_QPS, slots / 60) if chosen.raised else DEFAULT_SUBMIT_QPS,
                query_qps=max(DEFAULT_QUERY_QPS, slots / 10) if chosen.raised else DEFAULT_QUERY_QPS,
                ledger=None if chosen.ledger == "memory" else tempfile.mkdtemp(dir=folder),
                seed=number + 1,
            )
            told.append(run(case))
            print(f"account {number + 1}: {told[-1].real_seconds:.0f} s", file=sys.stderr, flush=True)
    row = {
        "who": "ours",
        "slots": chosen.slots,
        "accounts": chosen.accounts,
        "limit": "learned" if chosen.learned else "told",
        "rates": "raised" if chosen.raised else "default",
        "ledger": chosen.ledger,
        **figures(told),
        "cpu_us_per_item": 1e6 * (time.process_time() - cpu) / chosen.items,
    }
    keep("simulation", [row], chosen.records)
    return 0


def figures(told: list[Told]) -> dict[str, Any]:
    """Add the accounts up."""
    vendors = [each.vendor for each in told]
    landed = sum(each.landed for each in told)
    return {
        "items": landed,
        "utilisation": sum(each.utilisation for each in vendors) / len(vendors),
        "queries_per_item": sum(each.queries for each in vendors) / landed,
        "refused": sum(each.refused for each in vendors),
        "noticed_s": sum(each.noticed for each in vendors) / landed,
        "most_in_use": sum(each.most for each in vendors),
        "virtual_days": max(each.span for each in told) / 86400,
    }


if __name__ == "__main__":
    raise SystemExit(main())
