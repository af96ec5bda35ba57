# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Products that make pictures: what their body may hold, and the pictures.

The vendor's page of 即梦 4.0: pictures come as JPEG, several of them where the prompt asks for several, and
as links only for a query that says so; otherwise as text in the answer.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT_TO_IMAGE = "jimeng_t2i_v40"
MAX_INPUTS = 10
#: The vendor's page: 15, less the pictures that went in.
MAX_PICTURES = 15
LEAST_AREA, MOST_AREA = 1024 * 1024, 4096 * 4096
_DEFAULT_SIDE = 2048
_PICTURES = re.compile(r"(^|_)[it]2i(_|$)")
_MARK = b"jimeng-emulator:"
_COMMENT = b"\xff\xfe"
_MOST_COMMENT = 60_000

#: 64 x 64 pixels, JPEG, base 85.
_TINY = (
    "|JeWF01!$>Nk#wx0RR9200961|JwjV02B@n5)Ta&5)cv>6%-gAG9exu93DL^E+jHZKuk+VKt@GST61DhRc%&9Mr4R(ZFhTtf`Lw8"
    "jhBplmUDiAeE-`3Lje^R7akfOJ0T%Ed{ahKe0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0+R-e0=}F"
    "01*fPKmb4k0U`hb5di}c0sq7R8UO(S00RL50000000000000630|W&C2LHqWCJ+Du0s;X71qA>A00000000010s{mQF%lsK6G2g7"
    "6f%L4vH!#X7y$tR0RaI30000000000000651O)*9!~h%-00RI50|5X40000000000009C65(E)JA^+L{3<CiG0ucid06zfGLPSDG"
    "P0^A{gouQK=(Lpy5eWs+X(|#T5(}czX(1!XNG^_KnQ>^AMbWN3x69WE@6nA`I@NGV`pNRm4+TqiJuR&*{?4Jy<z=T@_-?~1UcqfO"
    "-5ps4CHy$qc+VQ%o$fEZS==<dQ7<A7UDUb!F!AzK*IpE*>B~YyLPqyTq|-t~LP2zL<j;qH(_W{h<HVBoJJs0>W7S-gm%;OhaGap`"
    "2{^xW^k>To{`zXilV69>%29-Rq|{RNY~*I-EQ?o9*&fU1<iRT^X1eDoYmL2;10FRGvd;D@5+V{R=u&B+A|W8UIdW7aL?jnQ<fur9"
    "NG^*>QBmY17e%E1*#"
)


def makes_pictures(req_key: str) -> bool:
    """Return whether a product gives pictures and no video."""
    return _PICTURES.search(req_key) is not None


def count_of(req_key: str, body: Mapping[str, Any], wanted: int) -> int:
    """Return how many things a task makes: what the emulator was told, as far as the body allows it."""
    if not makes_pictures(req_key) or body.get("force_single") is True:
        return 1
    inputs = body.get("image_urls")
    return max(1, min(wanted, MAX_PICTURES - (len(inputs) if isinstance(inputs, list) else 0)))


def size_of(body: Mapping[str, Any]) -> tuple[int, int]:
    """Return a picture's width and height in pixels: both sides as asked for, else a square of the area."""
    width, height = body.get("width"), body.get("height")
    if isinstance(width, int) and isinstance(height, int):
        return width, height
    area = body.get("size")
    side = round(area**0.5) if isinstance(area, int) else _DEFAULT_SIDE
    return side, side


def cheap_picture(tag: Mapping[str, Any]) -> bytes:
    """A valid JPEG that no other result is equal to: made without encoding."""
    return tagged_picture(base64.b85decode(_TINY), tag)


def tagged_picture(picture: bytes, tag: Mapping[str, Any]) -> bytes:
    """Put a comment into a JPEG that says which task it is the result of."""
    text = json.dumps(tag, sort_keys=True).encode()
    if len(text) > _MOST_COMMENT:
        text = json.dumps({**tag, "content": {}}, sort_keys=True).encode()
    payload = _MARK + text
    return picture[:2] + _COMMENT + struct.pack(">H", 2 + len(payload)) + payload + picture[2:]


def picture_tag(picture: bytes) -> dict[str, Any] | None:
    """Read which task a JPEG is the result of; ``None`` where it isn't from an emulator, or cut short."""
    head = 6 + len(_MARK)
    if picture[2:4] != _COMMENT or picture[6:head] != _MARK or not picture.endswith(b"\xff\xd9"):
        return None
    length = int.from_bytes(picture[4:6], "big")
    tag: dict[str, Any] = json.loads(picture[head : 4 + length])
    return tag


def render_picture(tag: Mapping[str, Any], size: tuple[int, int]) -> bytes:
    """
    Make a picture of its own for each prompt: a sky, a sun and the words; needs Pillow.

    :param size: width and height in pixels.
    """
    import io
    import random

    from PIL import Image, ImageDraw, ImageFont

    content = tag.get("content") or {}
    words = str(content.get("prompt", ""))
    rng = random.Random(f"{words} {tag.get('number')}")  # noqa: S311 - a picture that a prompt repeats
    width, height = size
    top, bottom = (tuple(rng.randrange(40, 230) for _ in range(3)) for _ in range(2))
    sky = Image.new("RGB", (1, 2))
    sky.putdata([top, bottom])
    picture = sky.resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    radius = min(size) * rng.uniform(0.08, 0.2)
    x, y = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.2, 0.6)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 236, 170))
    font = ImageFont.load_default(max(12, height // 24))
    draw.text((width // 20, height - height // 20), words[:80], font=font, fill=(255, 255, 255), anchor="ls")
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=85)
    return tagged_picture(data.getvalue(), tag)
