# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The page on metrics lists what is published, and the page on lineage the facets that there are."""

from __future__ import annotations

import attr

from airflow_provider_jimeng.client.meter import Kind
from airflow_provider_jimeng.hooks import openlineage
from airflow_provider_jimeng.hooks.lineage import MOST
from airflow_provider_jimeng.hooks.metrics import METRICS, PREFIX

from tests.docs.pages import names, page, rows, section

KINDS = {Kind.COUNT: "counter", Kind.GAUGE: "gauge", Kind.SECONDS: "timer"}


def test_each_metric_is_listed_with_its_kind_and_its_tags() -> None:
    listed = {
        names(name)[0]: (kind, tuple(names(tags))) for name, kind, tags, _ in rows(page("docs/metrics.md"))
    }

    assert listed == {PREFIX + name: (KINDS[kind], tags) for name, (kind, tags) in METRICS.items()}


def test_what_to_watch_are_metrics() -> None:
    watched = rows(section(page("docs/metrics.md"), "## What to watch"))

    assert {names(cell)[0].removeprefix(PREFIX) for cell, _ in watched} <= set(METRICS)


def test_each_facet_is_listed_with_its_fields() -> None:
    listed = {
        names(name)[0]: set(names(text))
        for name, text in rows(section(page("docs/lineage.md"), "## OpenLineage"))
        if names(name)
    }
    facets = {
        "jimeng_task": openlineage.JimengTaskRunFacet,
        "jimeng_bulk": openlineage.JimengBulkRunFacet,
        "jimeng_error": openlineage.JimengErrorRunFacet,
    }

    assert set(listed) == {*facets, "externalQuery"}
    for name, facet in facets.items():
        own = {field.name for field in attr.fields(facet) if not field.name.startswith("_")}
        assert listed[name] == own


def test_the_bound_is_the_codes() -> None:
    assert page("docs/lineage.md").count(f"first {MOST}") == 2
