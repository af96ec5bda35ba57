# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The HTTP library writes no URL of ours at DEBUG, and goes on writing everybody else's."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import requests

from airflow_provider_jimeng.client.discretion import discreet
from airflow_provider_jimeng.media.guard import NetworkGuard

from tests.client.servers import answering, serving

if TYPE_CHECKING:
    import pytest

SECRET = "X-Amz-Signature=0123456789abcdef"


def test_a_presigned_url_is_in_no_debug_line(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG), serving(answering({"ok": True})) as server:
        with NetworkGuard(allow_loopback=True).open(f"{server.url}/a.png?{SECRET}") as response:
            response.content
        assert SECRET not in caplog.text
        requests.get(f"{server.url}/b.png?visible=1", timeout=5)
    assert "visible=1" in caplog.text


def test_only_the_thread_that_asked_is_silent(caplog: pytest.LogCaptureFixture):
    logger = logging.getLogger("urllib3.connectionpool")
    with caplog.at_level(logging.DEBUG):
        with discreet(), discreet():
            logger.debug("ours")
            other = threading.Thread(target=logger.debug, args=("theirs",))
            other.start()
            other.join()
        logger.debug("later")
    assert [record.getMessage() for record in caplog.records] == ["theirs", "later"]
