# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The connection's form and the configuration's options, as Airflow wants them declared.

Data only: the providers manager reads it in every process of Airflow, so importing it must load nothing.
"""

from __future__ import annotations

from typing import Any

__all__ = ["CONFIGURATION", "CONNECTION_FIELDS", "UI_FIELD_BEHAVIOUR"]


def _field(label: str, description: str, kind: str = "string", **schema: Any) -> dict[str, Any]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


def _text(label: str, description: str, *examples: str) -> dict[str, Any]:
    """Return a field whose examples the form offers while somebody types; it has no placeholders there."""
    return _field(label, description, examples=list(examples))


def _number(label: str, description: str, low: float, high: float, kind: str = "number") -> dict[str, Any]:
    """Return a field with the range that the hook accepts."""
    return _field(label, description, kind, minimum=low, maximum=high)


def _seconds(label: str, description: str) -> dict[str, Any]:
    return _number(label, description, 0.01, 3600)


#: The extras of a ``volcengine`` connection, in the order of the form.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "account": _field(
        "Account name",
        "The name under which the ledger keeps this account; default: a digest of the Access Key ID. Set it "
        "to keep history and slots together across key rotation and sub-users. Required with a session "
        "token.",
    ),
    "session_token": _field("Session token", "STS token of temporary keys.", format="password"),
    "region": _text("Region", "Default: cn-north-1.", "cn-north-1"),
    "service": _text("Service", "Default: cv.", "cv"),
    "max_concurrency": _text(
        "Slots",
        'Tasks that may run at once per req_key: a number, or {"req_key": number}. Default: learned.',
        "1",
        "2",
        '{"jimeng_dream_actor_m1_gen_video_cv": 2}',
    ),
    "submit_qps": _number(
        "Submits per second", "Per process. Default: 1, or a fifth of max_concurrency.", 0.001, 10_000
    ),
    "query_qps": _number("Queries per second", "Per process. Default: 5.", 0.001, 10_000),
    "daily_submit_limit": _number(
        "Daily submit limit",
        "Most new submits per account and UTC day, across all DAGs. Default: none.",
        1,
        1_000_000_000,
        "integer",
    ),
    "ledger": _field(
        "Ledger",
        "UUID of the only ledger through which this account pays, as `ledger identity` tells it; submits "
        "through another one stop. Default: any.",
    ),
    "price_per_second": _number(
        "Price per second of video", "In your currency, for estimates only. Default: none.", 0, 1_000_000
    ),
    "allowed_networks": _text(
        "Allowed private networks",
        "CIDRs, separated by commas, of private addresses that inputs and results may be on. Default: none.",
        "10.0.0.0/8",
    ),
    "connect_timeout": _seconds("Connect timeout", "Seconds. Default: 10."),
    "read_timeout": _seconds("Read timeout", "Seconds between two reads of an answer. Default: 30."),
    "submit_deadline": _seconds("Submit deadline", "Seconds for one whole send of a submit. Default: 60."),
    "verify": _text(
        "Verify TLS",
        "true, false, or the path of a CA bundle. Default: true.",
        "true",
        "false",
        "/etc/ssl/certs/ca-certificates.crt",
    ),
    "proxies": _field(
        "Proxies",
        'An object such as {"https": "http://proxy:3128"}. Default: the environment\'s.',
        format="password",
    ),
    "allow_http": _field("Allow plain http", "Allow an http:// endpoint on another machine.", "boolean"),
}

#: The built-in fields of the form.
UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": [],
    "relabeling": {
        "login": "Access Key ID",
        "password": "Secret Access Key",
        "host": "Endpoint",
    },
    "placeholders": {
        "host": "https://visual.volcengineapi.com",
        "login": "AKLT...",
        "schema": "https",
        "port": "443",
    },
}


def _option(description: str, **values: Any) -> dict[str, Any]:
    return {"description": description, "version_added": "0.1.0", "example": None, "default": None, **values}


#: The provider's sections of ``airflow.cfg``.
CONFIGURATION: dict[str, dict[str, Any]] = {
    "jimeng": {
        "description": "The ledger of paid tasks, and limits that hold for every connection.",
        "options": {
            "ledger_conn_id": _option(
                "Airflow connection (PostgreSQL, MySQL or SQLite) of the database that keeps the ledger. "
                "Every worker and triggerer must reach the same one. Not together with ledger_url.",
                type="string",
                example="jimeng_ledger",
            ),
            "ledger_url": _option(
                "SQLAlchemy URL of the database that keeps the ledger. Without it and without "
                "ledger_conn_id, a SQLite file jimeng_ledger.db under AIRFLOW_HOME, which only serves "
                "executors that run tasks on one machine.",
                type="string",
                example="postgresql+psycopg2://jimeng:secret@database/jimeng",
                sensitive=True,
            ),
            "allow_local_ledger": _option(
                "Use a SQLite ledger even under an executor that runs tasks on other machines. Each machine "
                "then forgets what the others paid for, unless all of them see the same file.",
                type="boolean",
                example="True",
                default="False",
            ),
            "volatile_query_params": _option(
                "Names of query parameters, separated by commas, that don't belong to an input's identity, "
                "beyond those of presigned URLs, which are known.",
                type="string",
                example="cache_buster,utm_source",
                default="",
            ),
            "probe": _option(
                "Look at images and videos before they are paid for, where an operator does not say. "
                "Default: where Pillow and PyAV (the extra `media`) are installed.",
                type="boolean",
                example="False",
            ),
            "check_sha256": _option(
                "Read every landed file, and compare its SHA-256, before it is reused. Default: size and "
                "etag are compared, and a file is read only where its store gave it another etag.",
                type="boolean",
                example="True",
                default="False",
            ),
            "presign_seconds": _option(
                "How long the presigned URLs of private inputs (s3://, gs://, tos://, abfs://) live, in "
                "seconds: from twelve hours to a week.",
                type="integer",
                example="86400",
                default="46800",
            ),
            "daily_submit_limit": _option(
                "Most new submits per account and UTC day, across all DAGs, where the connection sets no "
                "limit of its own. Empty: no limit.",
                type="integer",
                example="500",
            ),
            "environment_account": _option(
                "The ledger's name of the account whose keys are in the official SDK's environment variables "
                "(VOLCENGINE_ACCESS_KEY, ...). Set it where these are meant, and there is no connection of "
                "the default id: they are then used without asking whether there may be one. Required with "
                "VOLCENGINE_SESSION_TOKEN.",
                type="string",
                example="studio",
            ),
            "ui": _option(
                "Whether Airflow's pages of DAG runs and task instances get a tab *Jimeng*, with progress, "
                "results, and the ledger's unknowns. Read when the api-server starts.",
                type="boolean",
                example="False",
                default="True",
            ),
        },
    }
}
