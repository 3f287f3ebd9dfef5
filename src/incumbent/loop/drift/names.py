"""The streams that drift is judged over, and the keys of their states in Control: built here alone.

| stream | state | what a row is |
|---|---|---|
| ``embeddings/SPACE/ENTITY/VERSION`` | Vectors | a vector that arrived |
| ``skew/SURFACE/MODEL`` | Buckets | a recommended item: is its newest vector of the version that the model says? |
| ``vector_age/SURFACE/MODEL`` | LogHistogram | a recommended item: how old its newest vector is, in seconds |
| ``items/SURFACE/MODEL`` | Items | an item that the model recommended for the first page, in its popularity cell and category |
| ``prices/SURFACE/MODEL`` | Numeric | the catalogue's price of such an item, in minor units of one currency |
| ``scores/SURFACE/MODEL/VERSION`` | Numeric | the model's score of such an item; of one version, since scales change |
| ``context/SURFACE/FIELD`` | Numeric, Items | the value of a context field in a request |
| ``calibration/SURFACE/MODEL/VERSION`` | Reliability | a shown slot: its score, and whether it was clicked within `click_hours` |
| ``response/SURFACE`` | Counts | a first page: shown, clicked, converted, with the champion's answer or without |
| ``ndcg/SURFACE`` | Moments | a shopper's first pages of a day: the mean NDCG of the clicks, 0 for a page without any |
| ``delay/SURFACE`` | Delay | a first page: whole days to its first purchase |

A key is ``drift/STREAM@START``, START the window's start in UTC; states of one key add over days and user buckets.
"""  # noqa: E501

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from urllib.parse import quote, unquote

PREFIX = "drift/"
#: families of shards, each rebuilt when its tables change
EMBEDDINGS, REQUESTS, RESPONSES = "drift-embedding", "drift-request", "drift-response"
FAMILIES = (EMBEDDINGS, REQUESTS, RESPONSES)
#: kinds of streams that take the times of items' vectors
SERVED = ("skew", "vector_age")
#: what a `response` state counts
SHOWN, CLICKED, CONVERTED, FAILED = "shown", "clicked", "converted", "failed"
NDCG = "ndcg"
LONGEST = 100  # letters of one part of a name
FOREIGN = "!dimension"  # behind the stream of rows whose vectors have another dimension
UNREAD = "!unread"  # behind the stream of rows that could not be counted, by the reason


def stream(kind: str, *parts: str) -> str:
    """The name of a stream: its parts quoted, so that a slash in a name stays one part; a long one is hashed.

    >>> stream("context", "home", "device/os")
    'context/home/device%2Fos'
    """
    return "/".join([kind, *map(_part, parts)])


def parts_of(name: str) -> list[str]:
    """Kind and parts of a stream's name.

    >>> parts_of("context/home/device%2Fos")
    ['context', 'home', 'device/os']
    """
    return [unquote(part) for part in name.split("/")]


def key(name: str, start: datetime) -> str:
    """Where the states of a stream's window stand.

    >>> key("items/home/popular", datetime(2026, 3, 1, tzinfo=UTC))
    'drift/items/home/popular@2026-03-01T00:00Z'
    """
    return f"{PREFIX}{name}@{start.astimezone(UTC):%Y-%m-%dT%H:%MZ}"


def _part(text: str) -> str:
    quoted = quote(text, safe="")
    return quoted if len(quoted) <= LONGEST else hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
