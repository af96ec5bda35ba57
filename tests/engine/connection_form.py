# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The connection's form in a browser, as a person fills it in; the documentation's picture is made here."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bulk.chromium import Page

#: Of the browser's window, in pixels; its height has room for the whole form.
WIDTH, HEIGHT = 960, 2400
_BUILT_IN = ("host", "login", "password", "port")
_FIELDS = """
[...document.querySelectorAll('[role=dialog] [name]')].map(field => ({
  name: field.name.replace('element_', ''), kind: field.type, placeholder: field.placeholder,
  low: field.getAttribute('aria-valuemin'), high: field.getAttribute('aria-valuemax'),
}))
"""
#: Where to click on an element: its middle.
_PLACE = """
(() => {{
  const at = {}; at.scrollIntoView({{block: 'center'}}); const box = at.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}})()
"""
_TO_THE_TOP = "document.querySelector('[role=dialog]').parentElement.scrollTo(0, 0)"
_HEIGHT = "document.querySelector('[role=dialog]').getBoundingClientRect().bottom"


@dataclass(frozen=True, slots=True)
class Form:
    """What the form shows: its fields by name, the words beside them, and all of it as PNG."""

    fields: dict[str, dict[str, Any]]
    text: str
    picture: bytes


class Filling:
    """Fills in a form with the mouse and the keyboard of a page."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def click(self, element: str) -> None:
        """Press and release the mouse on what a JavaScript expression finds."""
        await self.page.until(element)
        where, before = await self.page.evaluate(_PLACE.format(element)), None
        while where != before:
            # Something folds in or out: a click would hit its neighbour.
            await asyncio.sleep(0.15)
            where, before = await self.page.evaluate(_PLACE.format(element)), where
        at = {"x": where[0], "y": where[1], "button": "left", "clickCount": 1}
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self.page.call("Input.dispatchMouseEvent", type=kind, **at)

    async def press(self, text: str) -> None:
        """Press the button with a text."""
        wanted = f"each => each.innerText.trim() === {json.dumps(text)} && !each.disabled"
        await self.click(f"[...document.querySelectorAll('button')].find({wanted})")

    async def write(self, selector: str, text: str) -> None:
        await self.click(f"document.querySelector({json.dumps('[role=dialog] ' + selector)})")
        await self.page.call("Input.insertText", text=text)

    async def enter(self) -> None:
        for kind in ("keyDown", "keyUp"):
            await self.page.call(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13
            )


async def fill_in(page: Page, base_url: str, values: dict[str, str]) -> Form:
    """
    Open the form for a new connection, fill it in, take its picture, save it, and return what it showed.

    :param base_url: of an api-server that asks nobody for a password.
    :param values: texts by field; ``connection_id`` and the built-in fields by their own names.
    """
    filling = Filling(page)
    await page.open(f"{base_url}/connections")
    await filling.press("Add Connection")
    await filling.write("input[name=connection_id]", values["connection_id"])
    await filling.write("input[role=combobox]", "Volcengine")
    await filling.enter()
    for name in _BUILT_IN:
        await filling.write(f"input[name={name}]", values[name])
    await filling.press("Extra Fields")
    await page.until("document.querySelector('[role=dialog] input[name=element_account]').offsetParent")
    for name, value in values.items():
        if name not in ("connection_id", *_BUILT_IN):
            await filling.write(f"input[name=element_{name}]", value)
    # Nothing is being edited any more, and no list of suggestions is open.
    await page.evaluate("document.activeElement.blur()")
    await page.evaluate(_TO_THE_TOP)
    await page.resize(WIDTH, int(await page.evaluate(_HEIGHT)) + 40)
    await page.evaluate(_TO_THE_TOP)
    picture = await page.screenshot()
    fields = {each["name"]: each for each in await page.evaluate(_FIELDS)}
    text = await page.evaluate("document.querySelector('[role=dialog]').innerText")
    await filling.press("Save")
    await page.until("!document.querySelector('[role=dialog]')")
    return Form(fields, str(text), picture)


async def press_test(page: Page) -> str:
    """Press *Test Connection* in the list, and return what the page says."""
    await Filling(page).click("document.querySelector('button[aria-label=\"Test Connection\"]')")
    await page.until("document.body.innerText.includes('Test Connection ')")
    return str(await page.evaluate("document.body.innerText"))
