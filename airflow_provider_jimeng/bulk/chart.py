# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The picture of a run's slots over its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_jimeng.bulk.timeline import Timeline

_BUCKETS = 600
_WIDTH, _HEIGHT = 600, 100


def chart(timeline: Timeline, slots: int | None) -> tuple[str, dict[str, Any] | None]:
    """
    Draw the slots in use as an SVG of numbers only, and return what it shows.

    :param slots: how many there are, drawn as a line.
    :returns: the SVG, empty where there is nothing to draw; and start, end (epoch seconds), slots, the height
        of the chart in slots, and the mean number of busy slots in each of some equal parts.
    """
    span = timeline.span
    if span is None or span[1] <= span[0]:
        return "", None
    start, end = span
    values = timeline.averages(start, end, _BUCKETS)
    top = max(slots or 0, timeline.most, 1)
    points = " ".join(
        f"{at * _WIDTH / _BUCKETS:.1f},{y:.1f} {(at + 1) * _WIDTH / _BUCKETS:.1f},{y:.1f}"
        for at, y in ((at, _HEIGHT * max(0.0, 1 - value / top)) for at, value in enumerate(values))
    )
    limit = _HEIGHT * (1 - slots / top) if slots else None
    line = f'<line class="limit" x1="0" x2="{_WIDTH}" y1="{limit:.1f}" y2="{limit:.1f}"/>' if slots else ""
    svg = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="Slots in use over the time of the run">'
        f'<line class="grid" x1="0" x2="{_WIDTH}" y1="50" y2="50"/>'
        f'<polygon class="area" points="0,{_HEIGHT} {points} {_WIDTH},{_HEIGHT}"/>{line}'
        f'<line class="cursor" x1="0" x2="0" y1="0" y2="{_HEIGHT}"/></svg>'
    )
    shown = {"start": start, "end": end, "slots": slots, "top": top, "values": [round(v, 2) for v in values]}
    return svg, shown
