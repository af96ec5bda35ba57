# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What holds secrets is not printed, not pickled, and no XCom when a task returns it by mistake."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import pickle
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import airflow_provider_jimeng
from airflow_provider_jimeng.api.models import Credentials, SignedRequest
from airflow_provider_jimeng.api.tos import TosStore
from airflow_provider_jimeng.bulk.items import Item
from airflow_provider_jimeng.emulator import EmulatorConfig
from airflow_provider_jimeng.exceptions import JimengCredentialError
from airflow_provider_jimeng.lifecycle.wanted import Request
from airflow_provider_jimeng.policy.polling import PollDecision, PollKind

from tests.airflow_versions import moved
from tests.client.settings_for import SECRET, TOKEN, settings_for

serialize = moved("serialize", "airflow.sdk.serde", "airflow.serialization.serde")
KEYS = Credentials("AKwho", SECRET, TOKEN)
SIGNED = f"https://a.example/i.png?X-Amz-Signature={SECRET}"
#: Fields by whose name one would look for a secret, and those that are named so and hold none.
SUSPICIOUS = re.compile(
    r"secret|token$|passw|credential$|prox|headers?$|body$|^(image|video)(_url)?$|^sources$|^url$"
)
HARMLESS = {
    "airflow_provider_jimeng.api.signing._Day.credential": "the scope: date, region, service",
    "airflow_provider_jimeng.api.signing._Moment.credential": "the key's id and the scope",
    "airflow_provider_jimeng.api.models.SignedRequest.url": "of the endpoint; its query names an action",
    "airflow_provider_jimeng.api.media_limits.MediaLimits.image": "limits of images",
    "airflow_provider_jimeng.api.media_limits.MediaLimits.video": "limits of videos",
    "airflow_provider_jimeng.bulk.gallery.GalleryRow.image": "without its query",
    "airflow_provider_jimeng.bulk.gallery.GalleryRow.video": "without its query",
    "airflow_provider_jimeng.emulator.answers.Reply.body": "what the emulator answers",
    "airflow_provider_jimeng.emulator.answers.Reply.headers": "what the emulator answers",
    "airflow_provider_jimeng.emulator.inputs.Inputs.image": "a file of the emulator's",
    "airflow_provider_jimeng.emulator.inputs.Inputs.video": "a file of the emulator's",
}


def dataclasses_of_the_package() -> Iterator[tuple[str, type]]:
    for module in pkgutil.walk_packages(airflow_provider_jimeng.__path__, "airflow_provider_jimeng."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if (
                isinstance(value, type)
                and dataclasses.is_dataclass(value)
                and value.__module__ == module.name
            ):
                yield f"{module.name}.{name}", value


def test_no_dataclass_prints_a_field_that_sounds_like_a_secret() -> None:
    shown = {
        f"{name}.{field.name}"
        for name, kind in dataclasses_of_the_package()
        # Airflow's operators are dataclasses of their own kind, and print their task's name only.
        if "__repr__" in vars(kind) and "_BaseOperator__init_kwargs" not in dir(kind)
        for field in dataclasses.fields(kind)
        if field.repr and SUSPICIOUS.search(field.name)
    }
    assert shown == set(HARMLESS)


@pytest.mark.parametrize(
    "value",
    [
        KEYS,
        settings_for("https://v.test", credentials=KEYS, proxies={"https": f"http://who:{SECRET}@p:1"}),
        TosStore("AKwho", SECRET, "cn-beijing", TOKEN),
        SignedRequest("POST", "https://v.test/?Action=x", {"Authorization": SECRET}, SECRET.encode()),
        Item(1, "a", SIGNED, SIGNED, 0, "key", {"note": SECRET}),
        Request(SIGNED, SIGNED, body={"prompt": SECRET}),
        PollDecision(PollKind.SUCCEEDED, video_url=SIGNED),
        EmulatorConfig(secret_key=SECRET, session_token=TOKEN),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_a_secret_does_not_print_it(value: Any) -> None:
    for text in (repr(value), str(value), f"{value}", f"{[value]}"):
        assert SECRET not in text
        assert TOKEN not in text


@pytest.mark.parametrize(
    "value", [KEYS, settings_for("https://v.test", credentials=KEYS)], ids=["keys", "all"]
)
def test_keys_are_not_pickled_copied_or_stored_as_an_xcom(value: Any) -> None:
    for store in (pickle.dumps, copy.deepcopy, serialize):
        with pytest.raises(TypeError) as caught:
            store(value)
        assert SECRET not in str(caught.value)


def test_keys_are_compared_by_value() -> None:
    assert Credentials("AKwho", SECRET, TOKEN) == KEYS
    assert len({KEYS, Credentials("AKwho", SECRET, TOKEN), Credentials("AKwho", SECRET)}) == 2
    assert KEYS != "AKwho"


def test_a_pickled_error_holds_its_words_and_facts_only() -> None:
    def fail(secret: str) -> None:
        raise JimengCredentialError("the key is refused", code=100009)

    with pytest.raises(JimengCredentialError) as caught:
        fail(SECRET)
    caught.value.hidden = SECRET  # type: ignore[attr-defined]
    stored = pickle.dumps(caught.value)
    assert SECRET.encode() not in stored
    assert pickle.loads(stored).code == 100009
