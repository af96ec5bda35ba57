# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
The drawing of the architecture page, in light and in dark.

``python -m tests.docs.drawing`` writes ``docs/images/architecture.svg``.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.docs.pages import ROOT

PICTURE = ROOT / "docs" / "images" / "architecture.svg"
WIDTH, HEIGHT = 960, 610

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; fill: #1f2937; }
  .page { fill: #ffffff; }
  .zone { fill: #f3f4f6; stroke: #cbd5e1; }
  .box { fill: #ffffff; stroke: #64748b; }
  .truth { fill: #fef3c7; stroke: #b45309; }
  .money { fill: none; stroke: #b91c1c; stroke-width: 2; }
  .free { fill: none; stroke: #475569; stroke-width: 1.5; }
  .head { fill: #475569; }
  .red { fill: #b91c1c; }
  .title { font-weight: 600; }
  .zonename { font-weight: 600; fill: #475569; }
  .note { font-size: 12px; fill: #475569; }
  .paid { font-size: 12px; fill: #b91c1c; font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e5e7eb; }
    .page { fill: #0d1117; }
    .zone { fill: #161b22; stroke: #30363d; }
    .box { fill: #21262d; stroke: #8b949e; }
    .truth { fill: #3d2e0a; stroke: #d29922; }
    .money { stroke: #ff7b72; }
    .free { stroke: #8b949e; }
    .head { fill: #8b949e; }
    .red { fill: #ff7b72; }
    .zonename, .note { fill: #9ca3af; }
    .paid { fill: #ff7b72; }
  }
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with a title and lines below it, in pixels."""

    x: int
    y: int
    width: int
    height: int
    title: str
    lines: tuple[str, ...] = ()
    kind: str = "box"

    def svg(self) -> str:
        """Return its markup."""
        middle = self.x + self.width / 2
        parts = [
            f'<rect class="{self.kind}" x="{self.x}" y="{self.y}" width="{self.width}" '
            f'height="{self.height}" rx="8"/>',
            _text(middle, self.y + 22, self.title, "title"),
        ]
        parts += [
            _text(middle, self.y + 42 + 17 * number, line, "note") for number, line in enumerate(self.lines)
        ]
        return "\n".join(parts)


def _text(x: float, y: float, text: str, kind: str, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _arrow(points: str, kind: str = "free") -> str:
    tip = "red" if kind == "money" else "head"
    return f'<polyline class="{kind}" points="{points}" marker-end="url(#{tip})"/>'


def _zone(x: int, y: int, width: int, height: int, name: str) -> str:
    box = f'<rect class="zone" x="{x}" y="{y}" width="{width}" height="{height}" rx="12"/>'
    return box + _text(x + 14, y + 22, name, "zonename", "start")


def _marker(name: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path class="{name}" d="M0,0 L8,4 L0,8 z"/></marker>'
    )


PARTS = [
    _zone(20, 20, 600, 400, "Airflow"),
    _zone(20, 440, 600, 150, "yours"),
    _zone(690, 20, 250, 570, "the vendor"),
    Box(40, 60, 170, 84, "DAG author", ("operators, sensor,", "batch operator, hooks")).svg(),
    Box(
        228, 60, 372, 84, "worker leg: lifecycle", ("want · decide · claim · send · settle", "harvest · land")
    ).svg(),
    Box(
        250, 180, 350, 66, "triggerer: JimengTaskTrigger", ("only watches: asks, reads, never writes",)
    ).svg(),
    Box(
        228, 290, 192, 110, "ledger", ("tasks by content,", "slots, limits,", "landings, waiters"), "truth"
    ).svg(),
    Box(450, 290, 150, 110, "policy, api", ("pure decisions:", "codes, polls,", "back-off, slots")).svg(),
    Box(40, 180, 170, 66, "commands, links", ("plan · release · adopt",)).svg(),
    Box(40, 480, 250, 90, "inputs", ("https, s3, gs, tos, abfs:", "presigned, looked at first")).svg(),
    Box(
        350, 480, 250, 90, "outputs", ("any fsspec place: videos, pictures,", "report.html, summary.json")
    ).svg(),
    Box(715, 60, 200, 84, "submit", ("no idempotency key:", "a second one is paid again")).svg(),
    Box(715, 180, 200, 66, "query", ("free; known for 12 hours",)).svg(),
    Box(
        715, 290, 200, 110, "one or two slots", ("held from submit to done;", "18 s per second of video")
    ).svg(),
    Box(715, 480, 200, 90, "result", ("a link that lives an hour",)).svg(),
    _arrow("210,102 224,102"),
    _arrow("600,88 711,88", "money"),
    _text(655, 80, "once", "paid"),
    _arrow("711,122 604,122"),
    _text(655, 140, "task id", "note"),
    _arrow("600,213 711,213"),
    _text(655, 205, "asks", "note"),
    _arrow("335,144 335,176"),
    _text(343, 165, "defers", "note", "start"),
    _arrow("500,180 500,148"),
    _text(508, 165, "wakes", "note", "start"),
    _arrow("239,144 239,286"),
    _text(232, 272, "intent before, id after", "note", "end"),
    _arrow("80,246 80,345 224,345"),
    _arrow("525,290 525,250"),
    _arrow("915,102 928,102 928,345 919,345"),
    _arrow("815,400 815,476"),
    _arrow("711,525 604,525"),
    _text(655, 517, "lands", "note"),
    _arrow("165,480 165,430 652,430 652,362 711,362"),
    _text(676, 352, "fetched", "note"),
]


def drawing() -> str:
    """Return the picture."""
    about = (
        "A worker leg submits once and writes to the ledger, a trigger waits, a worker leg lands the result."
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" role="img" aria-label="{about}">',
            f"<title>{about}</title>",
            f"<style>{STYLE}</style>",
            f"<defs>{_marker('head')}{_marker('red')}</defs>",
            f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
            *PARTS,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(drawing(), encoding="utf-8")
