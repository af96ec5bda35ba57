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


#: The extras of a ``volcengine`` connection, in the order of the form.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "account": _field(
        "Account name",
        "The name under which the ledger keeps this account; default: a digest of the Access Key ID. Set it "
        "to keep history and slots together across key rotation and sub-users. Required with a session "
        "token.",
    ),
    "session_token": _field("Session token", "STS token of temporary keys.", format="password"),
    "region": _field("Region", "Default: cn-north-1."),
    "service": _field("Service", "Default: cv."),
    "max_concurrency": _field(
        "Slots",
        'Tasks that may run at once per req_key: a number, or {"req_key": number}. Default: learned.',
    ),
    "submit_qps": _field(
        "Submits per second", "Per process. Default: 1, or a fifth of max_concurrency.", "number"
    ),
    "query_qps": _field("Queries per second", "Per process. Default: 5.", "number"),
    "daily_submit_limit": _field(
        "Daily submit limit",
        "Most new submits per account and UTC day, across all DAGs. Default: none.",
        "integer",
    ),
    "ledger": _field(
        "Ledger",
        "UUID of the only ledger through which this account pays, as `ledger identity` tells it; submits "
        "through another one stop. Default: any.",
    ),
    "price_per_second": _field(
        "Price per second of video", "In your currency, for estimates only. Default: none.", "number"
    ),
    "allowed_networks": _field(
        "Allowed private networks",
        "CIDRs, separated by commas, of private addresses that inputs and results may be on. Default: none.",
    ),
    "connect_timeout": _field("Connect timeout", "Seconds. Default: 10.", "number"),
    "read_timeout": _field("Read timeout", "Seconds between two reads of an answer. Default: 30.", "number"),
    "submit_deadline": _field(
        "Submit deadline", "Seconds for one whole send of a submit. Default: 60.", "number"
    ),
    "verify": _field("Verify TLS", "true, false, or the path of a CA bundle. Default: true."),
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
