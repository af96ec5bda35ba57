# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The process that decodes and renders: a JSON line in, a JSON line out, until its input ends.

An end of input is also what it sees when the emulator is killed, so it never outlives it.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Serve orders from standard input."""
    # Decoders print to the descriptor of stdout; the protocol must be alone on its own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from airflow_provider_jimeng.emulator.render import job

    for line in sys.stdin:
        try:
            answer = job(json.loads(line))
        except Exception as error:  # Whatever a decoder raises is this job's failure, not the worker's.
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
