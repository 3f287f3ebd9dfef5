"""A window in which nothing came at all, and the first after it: one thing to tell, and not one for each monitor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from incumbent.loop.drift.ledger import AGAIN_DATA, News

SAID = {"no_data": "no rows in the window of any stream: the service stood still, or its log ended", "ok": AGAIN_DATA}

#: what a group's monitors wait for
WAITS = {"prompt": "need no outcome", "clicks": "wait for clicks", "conversions": "wait for purchases"}


def together(told: Mapping[str, News], *, still: bool) -> dict[Literal["no_data", "ok"], list[str]]:
    """Of the news of a tick's monitors those that are one: that nothing came (`still`: to none of them), and that
    something comes again, of two or more.

    >>> gone, back = News("no_data", "info", "no rows in the window"), News("ok", "info", "data again: p = 0.4")
    >>> together({"a": gone, "b": gone}, still=True), together({"a": gone, "b": back}, still=False)
    ({'no_data': ['a', 'b']}, {})
    """
    found: dict[Literal["no_data", "ok"], list[str]] = {
        "no_data": sorted(name for name, news in told.items() if still and news.status == "no_data"),
        "ok": sorted(name for name, news in told.items()
                     if news.status == "ok" and news.reason.startswith(f"{AGAIN_DATA}:"))}
    return {word: names for word, names in found.items() if len(names) > 1}
