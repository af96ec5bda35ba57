# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Credentials, signing and raw calls for an account of Volcengine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from airflow.sdk import BaseHook
from airflow_provider_jimeng.api.build import encode_body, query_body
from airflow_provider_jimeng.api.models import (
    API_VERSION,
    MOTION_IMITATION,
    RESULT_ACTION,
    SUBMIT_ACTION,
    Answer,
    FailureKind,
    TransportFailure,
)
from airflow_provider_jimeng.api.signing import sign_request
from airflow_provider_jimeng.client.diagnosis import IMPOSSIBLE_TASK_ID, diagnose
from airflow_provider_jimeng.client.discretion import forget_locals, forgetful
from airflow_provider_jimeng.client.settings import AccountSettings, parse_connection
from airflow_provider_jimeng.client.sync import SyncClient, utc_now
from airflow_provider_jimeng.exceptions import (
    JimengError,
    JimengInputError,
    JimengNotSentError,
    JimengProtocolError,
)
from airflow_provider_jimeng.hooks.compat import (
    MASKS_ASYNCHRONOUSLY,
    AirflowNotFoundException,
    amask_secret,
    mask_secret,
    off_the_loop,
    read_connection,
)
from airflow_provider_jimeng.hooks.defaults import DEFAULT_CONNECTION as DEFAULT_CONNECTION
from airflow_provider_jimeng.hooks.environment import settings_from_environment
from airflow_provider_jimeng.hooks.metadata import CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping


class VolcengineHook(BaseHook):
    """
    An account of Volcengine, from an Airflow connection.

    :param volcengine_conn_id: connection of type ``volcengine``. Where it is certain that none of the default
        id exists, the official SDK's environment variables are used; another id that is missing is an error.
    """

    conn_name_attr = "volcengine_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = "volcengine"
    hook_name = "Volcengine"

    def __init__(self, volcengine_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.volcengine_conn_id = volcengine_conn_id
        self._settings: AccountSettings | None = None

    @property
    def settings(self) -> AccountSettings:
        """
        The connection, read once per hook.

        :raises JimengConfigurationError: where it is missing or a field can't be read; the message names the
            field.
        """
        if self._settings is None:
            self._settings = self._read()
        return self._settings

    @forgetful
    def _read(self) -> AccountSettings:
        try:
            connection = read_connection(self.get_connection, self.volcengine_conn_id)
        except AirflowNotFoundException:
            connection = None
        settings = self._parse(connection)
        for secret in _secrets(settings):
            mask_secret(secret)
        return settings

    async def aget_settings(self) -> AccountSettings:
        """
        Read the connection from an event loop, without blocking it.

        ``dag.test()`` has no asynchronous way to the database's connections; there, and on any doubt that a
        connection is missing, the synchronous way is taken in a thread before it counts as missing.
        """
        if self._settings is None:
            try:
                self._settings = await self._aread()
            except BaseException as error:
                forget_locals(error)
                raise
        return self._settings

    async def _aread(self) -> AccountSettings:
        connection = await self._aget_connection()
        # Without one, Airflow is asked once more, in its synchronous way.
        settings = await off_the_loop(self._parse, None) if connection is None else self._parse(connection)
        for secret in _secrets(settings):
            await amask_secret(secret)
        return settings

    async def _aget_connection(self) -> Any:
        if MASKS_ASYNCHRONOUSLY:
            try:
                return await self.aget_connection(self.volcengine_conn_id)
            except (AirflowNotFoundException, AttributeError):
                self.log.debug("Reading %s again, in a thread.", self.volcengine_conn_id)
        try:
            return await off_the_loop(read_connection, self.get_connection, self.volcengine_conn_id)
        except AirflowNotFoundException:
            return None

    def _parse(self, connection: Any) -> AccountSettings:
        if connection is None:
            return settings_from_environment(self.volcengine_conn_id)
        # The text and not extra_dejson, which makes an empty object of what it can't read.
        return parse_connection(
            conn_id=self.volcengine_conn_id,
            login=connection.login,
            password=connection.password,
            host=connection.host,
            schema=connection.schema,
            port=connection.port,
            extra=connection.extra,
        )

    @forgetful
    def get_conn(self) -> SyncClient:
        """Return a client of this account."""
        return SyncClient(self.settings)

    @forgetful
    def sign(
        self,
        *,
        url: str,
        body: bytes = b"",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        date: dt.datetime | None = None,
    ) -> dict[str, str]:
        """
        Sign any request to Volcengine with this account's keys.

        :param url: with its query; what is signed is what must be sent, byte for byte.
        :param date: aware; now, unless given. The vendor refuses a date that is off, so sign again for each
            attempt.
        :return: all headers to send. ``Authorization`` is a secret for some minutes: don't log it.
        """
        settings = self.settings
        return sign_request(
            method=method,
            url=url,
            headers=dict(headers or {}),
            body=body,
            access_key=settings.credentials.access_key,
            secret_key=settings.credentials.secret_key,
            session_token=settings.credentials.session_token,
            region=settings.endpoint.region,
            service=settings.endpoint.service,
            date=date or utc_now(),
        )

    @forgetful
    def request(self, action: str, version: str, body: Mapping[str, Any] | bytes) -> Answer:
        """
        Make one call, once, and return the vendor's answer, refusals included.

        Not for submits: they belong into the ledger, so that a retried task doesn't pay again.

        :param body: an object, or bytes that are already encoded.
        :raises JimengInputError: for the submit action.
        :raises JimengNotSentError: the request never left this machine.
        :raises JimengProtocolError: it left, and no answer came; whether it took effect is not known.
        """
        if action == SUBMIT_ACTION:
            raise JimengInputError(
                f"`action` {action} costs money and is not sent by request(), which remembers nothing: use "
                "JimengHook.submit_task, or unsafe_submit where the ledger must be bypassed. Nothing was "
                "sent or paid."
            )
        data = body if isinstance(body, bytes) else encode_body(body)
        observation = self.get_conn().call(action, version, data)
        if isinstance(observation, Answer):
            return observation
        host = self.settings.endpoint.host
        if observation.kind is FailureKind.NOT_SENT:
            raise JimengNotSentError(
                f"{action} was not sent to {host}: {observation.detail}. Nothing was paid."
            )
        raise JimengProtocolError(
            f"{action} was sent to {host}, and no answer came: {observation.detail}. Whether it took effect "
            "is unknown."
        )

    def test_connection(self) -> tuple[bool, str]:
        """Ask for a task that can't exist, which costs nothing, and say what the answer tells."""
        try:
            client = self.get_conn()
            asked_at = utc_now()
            body = encode_body(query_body(MOTION_IMITATION, IMPOSSIBLE_TASK_ID))
            observation = client.call(RESULT_ACTION, API_VERSION, body)
            if isinstance(observation, TransportFailure):
                self.log.debug("Test of %s: %s", self.volcengine_conn_id, observation.detail)
            return diagnose(observation, client.settings, asked_at)
        except JimengError as error:
            return False, str(error)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's fields for Airflow 3.1, which doesn't read the provider's metadata for them."""
        # Loaded by name: only Airflow 3.1's web server has it, or stands in for it.
        forms = import_module("wtforms")

        widgets: dict[str, Any] = {}
        for name, field in CONNECTION_FIELDS.items():
            schema = field["schema"]
            kind = schema["type"][0]
            make = {"boolean": forms.BooleanField, "integer": forms.IntegerField}.get(kind, forms.StringField)
            if schema.get("format") == "password":
                make = forms.PasswordField
            widgets[name] = make(field["label"], description=field["description"])
        return widgets

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return labels and placeholders for Airflow 3.1."""
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}


def _secrets(settings: AccountSettings) -> list[str]:
    credentials = settings.credentials
    at_proxies = [
        form
        for url in settings.proxies.values()
        if (password := urlsplit(url).password)
        for form in (password, unquote(password))
    ]
    return [each for each in (credentials.secret_key, credentials.session_token, *at_proxies) if each]
