# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What a DAG file pays for its operators, beside those of well-known providers::

    python -m tests.benchmarks.imports [--python PATH] [--records FILE]

Each figure is of a fresh process, in turns. *Import* is over Airflow's own ``BaseOperator``, which is
imported before. *Parse* is ``DagBag`` on a file of one DAG with one task, in a process that has Airflow
loaded, as the DAG processor has; it pays that again each time it looks at the file. ``--python`` names an
interpreter of an environment that has the other providers; those that it lacks are left out::

    pip install apache-airflow-providers-{http,amazon,google,databricks,openai}
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.record import ROOT, Row, keep, parser_of

_IMPORT = """
import json, sys, time
from airflow.sdk import DAG, BaseOperator
modules, cpu, wall = len(sys.modules), time.process_time(), time.perf_counter()
import {module}
print(json.dumps([1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - wall),
                  len(sys.modules) - modules]))
"""

_PARSE = """
import json, sys, time
from airflow.sdk import DAG, BaseOperator
from airflow.dag_processing.dagbag import DagBag
cpu, wall = time.process_time(), time.perf_counter()
bag = DagBag(dag_folder=sys.argv[1])
took = [1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - wall)]
assert not bag.import_errors and len(bag.dags) == 1, bag.import_errors
print(json.dumps(took))
"""

_DAG = """
from airflow.sdk import DAG
from {module} import {name}

with DAG(dag_id="one", schedule=None):
    {name}(task_id="one", {arguments})
"""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of a provider, with arguments that are enough for a task."""

    distribution: str
    module: str
    name: str
    arguments: str


OPERATORS: Mapping[str, Operator] = {
    "ours": Operator(
        "apache-airflow",
        "airflow_provider_jimeng.operators.jimeng",
        "JimengMotionImitationOperator",
        'image_url="https://a.example/a.png", video_url="https://a.example/a.mp4", output="/tmp/a.mp4"',
    ),
    "http": Operator(
        "apache-airflow-providers-http",
        "airflow.providers.http.operators.http",
        "HttpOperator",
        'endpoint="/a"',
    ),
    "openai": Operator(
        "apache-airflow-providers-openai",
        "airflow.providers.openai.operators.openai",
        "OpenAITriggerBatchOperator",
        'conn_id="a", file_id="a", endpoint="/v1/embeddings"',
    ),
    "databricks": Operator(
        "apache-airflow-providers-databricks",
        "airflow.providers.databricks.operators.databricks",
        "DatabricksRunNowOperator",
        "job_id=1",
    ),
    "amazon": Operator(
        "apache-airflow-providers-amazon",
        "airflow.providers.amazon.aws.operators.s3",
        "S3CreateBucketOperator",
        'bucket_name="a"',
    ),
    "google": Operator(
        "apache-airflow-providers-google",
        "airflow.providers.google.cloud.operators.bigquery",
        "BigQueryInsertJobOperator",
        "configuration={}",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print the record."""
    parser = parser_of("imports", __doc__)
    parser.add_argument("--python", default=sys.executable, help="with the other providers")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--who", nargs="+", choices=sorted(OPERATORS), default=list(OPERATORS))
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        fresh = Fresh(chosen.python, Path(folder))
        versions = {who: fresh.version(OPERATORS[who].distribution) for who in chosen.who}
        here = {who: each for who, each in OPERATORS.items() if versions.get(who)}
        for each in here.values():
            # The first one compiles.
            fresh.imports(each)
            fresh.parses(each)
        imports: dict[str, list[list[float]]] = {who: [] for who in here}
        parses: dict[str, list[list[float]]] = {who: [] for who in here}
        for _ in range(chosen.rounds):
            for who, each in here.items():
                imports[who].append(fresh.imports(each))
                parses[who].append(fresh.parses(each))
    rows: list[Row] = [
        {
            "who": who,
            "operator": each.name,
            "version": versions[who] if who != "ours" else None,
            "import_cpu_ms": median(one[0] for one in imports[who]),
            "import_ms": median(one[1] for one in imports[who]),
            "import_ms_least": min(one[1] for one in imports[who]),
            "modules": int(median(one[2] for one in imports[who])),
            "parse_cpu_ms": median(one[0] for one in parses[who]),
            "parse_ms": median(one[1] for one in parses[who]),
        }
        for who, each in here.items()
    ]
    keep("imports", rows, chosen.records, versions=("apache-airflow",))
    return 0


@dataclass(frozen=True, slots=True)
class Fresh:
    """Fresh processes of an interpreter, one at a time."""

    python: str
    folder: Path

    def _run(self, code: str, *arguments: str) -> str:
        # As after an installation: with byte code, which the first process writes.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment = {
            **inherited,
            "PYTHONPATH": str(ROOT),
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        done = subprocess.run(
            [self.python, "-W", "ignore", "-c", code, *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()[-1]

    def version(self, distribution: str) -> str | None:
        """Return the version of a distribution, ``None`` where it is not there."""
        try:
            return (
                self._run(
                    "import importlib.metadata as m, sys\n"
                    f"print(next((m.version(n) for n in [{distribution!r}]"
                    " if list(m.distributions(name=n))), ''))"
                )
                or None
            )
        except subprocess.CalledProcessError:
            return None

    def imports(self, operator: Operator) -> list[float]:
        """Return milliseconds of processor time and of the clock for an import, and how many modules came."""
        found: list[float] = json.loads(self._run(_IMPORT.format(module=operator.module)))
        return found

    def parses(self, operator: Operator) -> list[float]:
        """Return milliseconds of processor time and of the clock for a DAG file."""
        fields: dict[str, Any] = {"module": operator.module, "name": operator.name}
        file = self.folder / f"{operator.name}.py"
        file.write_text(_DAG.format(**fields, arguments=operator.arguments))
        found: list[float] = json.loads(self._run(_PARSE, str(file)))
        return found


if __name__ == "__main__":
    raise SystemExit(main())
