# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The words with which a user says what to do where money could be spent twice."""

from __future__ import annotations

FAIL = "fail"
RESUBMIT = "resubmit"
REUSE = "reuse"
