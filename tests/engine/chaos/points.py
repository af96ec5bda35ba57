# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The crash points, in the order in which an item comes by them."""

from __future__ import annotations

from enum import StrEnum


class Point(StrEnum):
    """A moment in the life of one item or one run."""

    BEFORE_INTENT = "before-intent"
    AFTER_INTENT = "after-intent"
    BYTES_SENT = "bytes-sent"
    VENDOR_ACCEPTED = "vendor-accepted"
    AFTER_ANSWER = "after-answer"
    ID_RECORDED = "id-recorded"
    EVENT_TOLD = "event-told"
    RESUMED = "resumed"
    VERDICT_SEEN = "verdict-seen"
    DOWNLOADING = "downloading"
    PUBLISHED = "published"
    COPIED = "copied"
    BEFORE_REPORT = "before-report"
    HALF_REPORTED = "half-reported"


#: What each means, for people who read the table.
MEANING = {
    Point.BEFORE_INTENT: "before the intent is recorded",
    Point.AFTER_INTENT: "the intent is recorded, nothing was sent",
    Point.BYTES_SENT: "the submit's bytes are out, no answer yet",
    Point.VENDOR_ACCEPTED: "the vendor has accepted, its answer is unread",
    Point.AFTER_ANSWER: "the answer is read, the id is not recorded",
    Point.ID_RECORDED: "the id is recorded",
    Point.EVENT_TOLD: "in the triggerer, as the event is told",
    Point.RESUMED: "between the event and the resumed task's first line",
    Point.VERDICT_SEEN: "the vendor's verdict is seen, not recorded",
    Point.DOWNLOADING: "during the download",
    Point.PUBLISHED: "the result is stored, not recorded",
    Point.COPIED: "the result has its wanted name, not recorded",
    Point.BEFORE_REPORT: "before the report",
    Point.HALF_REPORTED: "between two files of the report",
}
