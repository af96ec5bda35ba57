# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The proxy to the endpoint: chosen once, and anew when the environment says something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_jimeng.client import route
from airflow_provider_jimeng.client.route import proxy_for

from tests.client.settings_for import settings_for

if TYPE_CHECKING:
    import pytest


def test_a_change_of_the_environment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for("https://vendor.example")
    assert proxy_for(settings) is None
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert proxy_for(settings) == "http://proxy.example:3128"
    monkeypatch.setenv("no_proxy", "vendor.example")
    assert proxy_for(settings) is None


def test_the_environment_is_searched_once_while_it_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setenv("all_proxy", "http://once.example:1")
    chosen = route.choose_proxy

    def count(url: str, proxies: object) -> str | None:
        asked.append(url)
        return chosen(url)

    monkeypatch.setattr(route, "choose_proxy", count)
    settings = settings_for("https://once.example")
    assert {proxy_for(settings) for _ in range(5)} == {"http://once.example:1"}
    assert len(asked) == 1
