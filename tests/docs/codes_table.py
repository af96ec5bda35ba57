# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The vendor's codes as tables for the documentation, from the table that the product decides by.

``python -m tests.docs.codes_table`` writes them into ``docs/troubleshooting.md``.
"""

from __future__ import annotations

from airflow_provider_jimeng.api.codes import RULES, CodeRule, OnQuery, OnSubmit

from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
BEGIN, END = "<!-- codes: begin -->\n", "<!-- codes: end -->\n"

ON_SUBMIT = {
    OnSubmit.CREATED: "a task was created",
    OnSubmit.STOP: "fails: nothing was created",
    OnSubmit.RETRY: "waits, then submits: nothing was created",
    OnSubmit.SIGN_AGAIN: "signs again once, then fails: nothing was created",
    OnSubmit.REFRESH: "reads the connection again once, then fails: nothing was created",
    OnSubmit.UNKNOWN: "*unknown*: a task may exist",
}
ON_QUERY = {
    OnQuery.ANSWERED: "see the task's status",
    OnQuery.VERDICT: "verdict: failed",
    OnQuery.RETRY: "asks again",
    OnQuery.HOLD: "holds, and asks again",
    OnQuery.SIGN_AGAIN: "signs again, then holds",
    OnQuery.REFRESH: "reads the connection again, then holds",
    OnQuery.GRACE: "asks again; verdict if it lasts",
}


def tables() -> str:
    """Return both tables: business codes, and the gateway's."""
    business = [rule for rule in RULES.values() if rule.code is not None and rule.code < 100_000]
    gateway = [rule for rule in RULES.values() if rule.code is not None and rule.code >= 100_000]
    parts = []
    for title, found in (("The product's codes", business), ("The gateway's codes", gateway)):
        lines = [_line(rule) for rule in sorted(found, key=lambda rule: rule.code or 0)]
        parts.append(f"### {title}\n\n{_HEAD}\n" + "\n".join(lines) + "\n")
    return "\n" + "\n".join(parts) + "\n"


_HEAD = (
    "| code | HTTP | the vendor's words | meaning | on a submit | while waiting | new attempt |\n"
    "|---|---|---|---|---|---|---|"
)


def _line(rule: CodeRule) -> str:
    statuses = ", ".join(map(str, rule.http_statuses)) or "–"
    cells = [
        str(rule.code),
        statuses,
        rule.name or "–",
        rule.meaning,
        ON_SUBMIT[rule.on_submit],
        ON_QUERY[rule.on_query],
        "yes" if rule.new_attempt else "no",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}{tables()}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
