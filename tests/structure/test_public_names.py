# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The names that users rely on are there, take what they should, and default to what is documented."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from typing import Any

import pytest

PACKAGE = "airflow_provider_jimeng"
REQUIRED = inspect.Parameter.empty
ANY = object()

COMMON: dict[str, Any] = {
    "req_key": ANY,
    "variant": 0,
    "on_unknown_submit": "fail",
    "force_new": None,
    "volcengine_conn_id": "volcengine_default",
}
#: Per class: its module, and its arguments with their defaults.
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "VolcengineHook": ("hooks.volcengine", {"volcengine_conn_id": "volcengine_default"}),
    "JimengHook": ("hooks.jimeng", {}),
    "JimengSubmitTaskOperator": (
        "operators.jimeng",
        {"image_url": ANY, "video_url": ANY, "body": ANY, **COMMON},
    ),
    "JimengLandResultOperator": (
        "operators.jimeng",
        {
            "task": ANY,
            "output": ANY,
            "overwrite": False,
            "volcengine_conn_id": "volcengine_default",
        },
    ),
    "JimengMotionImitationOperator": (
        "operators.jimeng",
        {
            **COMMON,
            "image_url": ANY,
            "video_url": ANY,
            "output": ANY,
            "max_attempts": 3,
            "deferrable": True,
            "on_missing_output": "fail",
            "on_input_changed": "fail",
            "overwrite": False,
            "poke_interval": ANY,
            "timeout": ANY,
        },
    ),
    "JimengBatchOperator": (
        "operators.jimeng",
        {
            "manifest": ANY,
            "output": ANY,
            "max_in_flight": None,
            "tolerance": 0,
            "on_invalid": "fail",
            "budget": None,
            "max_attempts": 3,
            "on_unknown_submit": "fail",
            "on_missing_output": "fail",
            "on_input_changed": "fail",
            "overwrite": False,
            "force_new": None,
            "deferrable": False,
            "dry_run": False,
            "poke_interval": ANY,
            "timeout": ANY,
        },
    ),
    "JimengTaskSensor": (
        "sensors.jimeng",
        {
            "task": ANY,
            "req_key": ANY,
            "deferrable": True,
            "poke_interval": ANY,
            "timeout": ANY,
        },
    ),
    "JimengTaskTrigger": ("triggers.jimeng", {}),
    "JimengResultLink": ("links.jimeng", {}),
    "JimengReportLink": ("links.jimeng", {}),
}
METHODS: dict[str, tuple[str, dict[str, list[str]]]] = {
    "VolcengineHook": (
        "hooks.volcengine",
        {"sign": [], "request": ["action", "version", "body"], "test_connection": []},
    ),
    "JimengHook": (
        "hooks.jimeng",
        {
            "submit_task": ["req_key", "body"],
            "submit_motion_imitation": ["image_url", "video_url"],
            "get_result": ["task_id", "req_key"],
            "aget_result": ["task_id", "req_key"],
            "unsafe_submit": [],
        },
    ),
}
SIGN_REQUEST = {
    "method": REQUIRED,
    "url": REQUIRED,
    "headers": REQUIRED,
    "body": REQUIRED,
    "access_key": REQUIRED,
    "secret_key": REQUIRED,
    "session_token": None,
    "region": REQUIRED,
    "service": REQUIRED,
    "date": REQUIRED,
}


def find(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)


def parameters(cls: type) -> dict[str, Any]:
    """Return the arguments that a class takes, its own and those that it passes on to its bases."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base):
            for parameter in inspect.signature(vars(base)["__init__"]).parameters.values():
                found.setdefault(parameter.name, parameter.default)
    return found


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_class_takes_the_arguments_of_the_contract(name: str):
    module, wanted = CLASSES[name]
    taken = parameters(find(module, name))
    assert set(wanted) <= set(taken)
    defaults = {argument: default for argument, default in wanted.items() if default is not ANY}
    assert {argument: taken[argument] for argument in defaults} == defaults


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_class_has_the_methods_of_the_contract(name: str):
    module, methods = METHODS[name]
    cls = find(module, name)
    for method, arguments in methods.items():
        taken = list(inspect.signature(getattr(cls, method)).parameters)
        assert taken[1 : len(arguments) + 1] == arguments, method


def test_aget_result_is_a_coroutine():
    assert inspect.iscoroutinefunction(find("hooks.jimeng", "JimengHook").aget_result)


def test_sign_request_takes_keywords_only():
    taken = inspect.signature(find("api.signing", "sign_request")).parameters
    assert {name: each.default for name, each in taken.items()} == SIGN_REQUEST
    assert {each.kind for each in taken.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_the_exceptions_carry_what_a_retry_policy_needs():
    error = find("exceptions", "JimengError")
    taken = inspect.signature(error).parameters
    assert {"code", "request_id", "task_id", "content_key", "http_status"} <= set(taken)
    names = find("exceptions", "__all__")
    assert all(issubclass(find("exceptions", name), error) for name in names)


def test_the_emulator_is_a_command():
    command = [sys.executable, "-m", f"{PACKAGE}.emulator", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    for option in (
        "--host",
        "--port",
        "--access-key",
        "--secret-key",
        "--concurrency",
        "--duration",
        "--speed",
    ):
        assert option in done.stdout
