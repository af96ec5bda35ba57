# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Result files: a tiny MP4 that is valid and unique per task, and the tag by which any result tells its task.

The tag is a ``free`` box behind the media: players skip it, and a byte of difference makes another digest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

from airflow_provider_jimeng.emulator.pictures import picture_tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: One second of H.264, 160x96, 25 fps, faststart; zlib, base 85.
_TINY = (
    "c-qZXYitx%6rSBKScSf5<<Wq-El>pdnB6W*DU4y;ZYY$h6e*?@rn575yF+JorZcmpix@#5Pz9nuKpR<UplAdXkpe-9v>N4MBo-tT"
    "#YiB$Bp^m3k6=A_XR%8aetX-q_dLII&$*AGC<^(EkSgkmOi@;f%s>vVfw#-5(@s&gd|6Q%D2kHg2ERZ(Fybyp$U>3-o?&^=tG7Iv"
    "dgQPI=BtLr)d62^)J1Z}{Tq$sesrGy%)1$=CL)f&f}z7a6id3%6G3oo(OBypSr9p3kSz4B-2vpJW_=kEa{Pj%-M2J|0*>{p1X(HN"
    "0)m8zkF`}613qBV8srFQ>@r6PrfsO8VP8xc{ezl>Ox}uh!z%&*v2N%>j86;Mw1>2U6kbD>!d&`LkKSW&cQ^cw2h?JVK=toFM-8ck"
    "d52~zTHQkSgmjB?B&CgBR%4+a^ItAry7us{d$(?p;54tHMY}q-;69*kL^^&y{gB9JgD(^kt0#1t@9`aC>TFSa-{@?O&QDMe+NuAU"
    "{ekrkg<APuwMOfs8o{<OW&=PU=Y%;OC<!Qo^a^MI(7>oXAWBb?!vmBW^+}7$Nip&$pp;(n0JHzR(z7NTSsxP=407_v$v85Tkr8{!"
    ";bv%@s!FjZCSEkJQoK*Ya0U7(vcQ3CZRy*myL;1*o+}40c9rhikbN3;4ZnV)(cyBU9K<UcMt0XYU`umBl~?|}XG)F}xhspoCSV>6"
    "#fln|u+Kman$FL0&<^75Hw?8fFK@wu1-azPDH0dRRkYeXf}86%WC?r})ex0{UWj<k%khjI!L?%SE+k;Dr0{i&y%7Eo7vQ9jjv2Z!"
    "zmRUU=jS6CGeOyp^q?0wJB?I51i|pjY63&&I_W|>m!^>{He!K|U_uD1ae-RQIGl+0Yl_UVBo-MOmLySU9H^kNK;R8f@%1u8!x}hY"
    "p%Q=qd$!$<e4K8us$M6m#KQ!rS6Rj9)3L$iIFRAjAVLSLq$qWq9|X2Xr%NJ_dlWPZXptPeD02o`hZr!hCUM{ddao4JxDd-LvdS4C"
    "^Ux%CbHxBafTP9{AD_m_SSRIsSv3TLC_oinmJ>MDh;Uw!BdOphU??mfEx=-}-|#{<Ma2QOR#CxfDpd%m!yy1?VE0Upg_jW2I*$XG"
    "4;qY<Mv>&CqZ-!z5Ula+Kh=^zjc0hxhh%tOFsTXz2+O5WJ*fq@#s#cOa3eF<$hal|qZ?RdoJdq*kKjZwcGyD1)x-Xi2x>7L+Sl>Q"
    "CDh}se@)$?W~KMJ{mx6E{1&ArP>$(RLI0y8FMX3fe(C(lg=vdaTY2p>u5Hq)gh||u<Kt!?9g<v$U;7|u-|t(E(H$elT*ON^e&kv*"
    "(c5xz#F&EW#y)eGf3oJO6T82r6U)x0oIJmWkK2EJ%iU#b`%XF5z3Rli{$HIwf5+1?>3Zg&=f=#ed4Cgm5C*!N<I7hbV3U55HW*!d"
    "Tw_Q6LVxHa->`m`aPp{3@s$a?THzU{hPj)QkNt{-quijf<fh$s?V+mAQZHSZc1ULY!*+o~vO7F@dCA<o>T9l>{VaTT4(JjsVT3cY"
    "Hgc2NuXzVD<RJjf&cn^@yo)Wf*EkF7*sJX(c*fMA)p~0BHp`&0r0R;U`t;n+?dw0CcrShD6$0cAkG8!zsH|#>yCmU_;U+YFVP#Y6"
    "ytb`lJPALOH^&mTXYbD1SiNq=+gDc)Oza4fPpZ4we&i3U^$b8$DaPlCBZ?|r>oe%pMX6_gNNnFrKJQ8H@PuXG4Js?HYa2WpJw1#R"
    "V+p&3!%eN#%Ay0uPmN9CqPiWwWo@jQx#F#o?O#-%GvSL$H%(r=cW>Le(TgchXTp?@D1O4t+bt_Xq>=9MG+T+M(=B?sOqdxLilDJo"
    "d5aEso}IJV)Kz3pZ)$xpH3B`4Jh{W&%@v0a5@-|KR-TvivUi5h{pa^hRm{5$`|Vwaz%9WYu3Gkjr*l?iTj`!`6U!@90RHS71i$87"
    "RJWtLsdd(g2tHe5;`8xmBlu<ls-!cq%}bwBj@%BO+nM>^-u8C0&+{(`B(&pf>YTBE17oRO76"
)

_MARK = b"jimeng-emulator:"


class ResultUnavailableError(RuntimeError):
    """The emulator could not make a result: its own trouble, not the vendor's."""


def tiny_mp4() -> bytes:
    """A playable one-second video of 2.5 kB."""
    return zlib.decompress(base64.b85decode(_TINY))


def cheap_result(tag: Mapping[str, Any]) -> bytes:
    """A valid MP4 that no other task has: made without encoding, of a size that differs from task to task."""
    return tagged(tiny_mp4(), tag)


def tagged(video: bytes, tag: Mapping[str, Any]) -> bytes:
    """Append the box that says which task a file is the result of."""
    text = json.dumps(tag, sort_keys=True).encode()
    padding = hashlib.sha256(text).digest()
    payload = _MARK + text + b"\0" + padding * (1 + padding[0] % 16)
    return video + struct.pack(">I4s", 8 + len(payload), b"free") + payload


def result_tag(video: bytes) -> dict[str, Any] | None:
    """
    Read which task a landed file is the result of: ``{"task_id", "content_key", ...}``.

    ``None`` where the file is cut short, or isn't from an emulator. A picture is read as well.
    """
    if video.startswith(b"\xff\xd8"):
        return picture_tag(video)
    for kind, payload in _boxes(video):
        if kind == b"free" and payload.startswith(_MARK):
            text, _, rest = payload[len(_MARK) :].partition(b"\0")
            padding = hashlib.sha256(text).digest()
            if rest != padding * (1 + padding[0] % 16):
                return None
            tag: dict[str, Any] = json.loads(text)
            return tag
    return None


def _boxes(video: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 0
    while offset + 8 <= len(video):
        size, kind = struct.unpack_from(">I4s", video, offset)
        if size < 8 or offset + size > len(video):
            return
        yield kind, video[offset + 8 : offset + size]
        offset += size
