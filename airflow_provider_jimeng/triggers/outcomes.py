# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The words with which a trigger's event says why the wait is over."""

from __future__ import annotations

FINISHED = "finished"
DEADLINE = "deadline"
TURN = "turn"
