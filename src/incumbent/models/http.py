"""A model behind JSON over HTTP."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
from yarl import URL

from incumbent.errors import ConfigError
from incumbent.events.plan import ModelPlan
from incumbent.models.generated import Told, generated_of
from incumbent.models.recommender import Ask, ModelFailure, Scored, pairs

MAX_BODY_BYTES = 4_194_304


class JsonEndpoint:
    """One POST of JSON and its JSON answer, over kept-alive connections; the common half of the HTTP adapters."""

    def __init__(self, plan: ModelPlan, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ConfigError("model target is not a URL", got=url, expected="http:// or https://",
                              field=f"models.{plan.name}.target")
        self._url = URL(url)  # parsed once
        self._plan = plan
        self._session: aiohttp.ClientSession | None = None
        token = str(plan.options.get("bearer", ""))
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})

    async def post(self, body: Any) -> Any:
        """The parsed answer; `ModelFailure` for another status than 200, a body too large, or no JSON."""
        session = self._session or self._open()
        async with session.post(self._url, data=msgspec.json.encode(body), allow_redirects=False) as response:
            if response.status != 200:
                raise ModelFailure(f"HTTP status {response.status}")
            data = await self._read(response)
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ModelFailure(f"body is not JSON: {error}") from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        length = response.content_length
        if (length or 0) > MAX_BODY_BYTES:
            raise ModelFailure(f"body of {length} bytes, at most {MAX_BODY_BYTES}")
        if length is not None and "content-encoding" not in response.headers:
            return await response.read()  # no more than it says
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise ModelFailure(f"body over {MAX_BODY_BYTES} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._plan.concurrency, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=None),  # the guard's deadline ends a request
            headers=self._headers, auto_decompress=True, cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class HttpModel:
    """POSTs the request (``user_id, surface, k, context, session_id, exclude, request_id, exclude_categories,
    ignore_events``); reads ``{"items": [...]}``.

    Items are ids, or objects whose keys the options name: ``items = "result.items"`` (a dotted path), ``item_key``
    (default ``item_id``), ``score_key`` (default ``score``), ``scores`` (path of a parallel array), ``bearer``.
    """

    def __init__(self, plan: ModelPlan) -> None:
        self._endpoint = JsonEndpoint(plan, plan.target)
        self._items_path = str(plan.options.get("items", "items"))
        self._scores_path = str(plan.options.get("scores", ""))
        self._item_key = str(plan.options.get("item_key", "item_id"))
        self._score_key = str(plan.options.get("score_key", "score"))

    async def recommend(self, request: Ask, k: int) -> Scored | Told:
        """The endpoint's list, and the trace under `generated` where it writes."""
        body = await self._endpoint.post(request)
        scored = self._scored(body)
        told = body.get("generated") if isinstance(body, dict) else None
        return scored if told is None else Told(scored, generated_of(told))

    def _scored(self, body: Any) -> Scored:
        items = at_path(body, self._items_path)
        if isinstance(items, list) and items and isinstance(items[0], dict):
            try:
                return [(item[self._item_key], item.get(self._score_key)) for item in items]
            except (KeyError, TypeError, AttributeError) as error:
                raise ModelFailure(f"an item has no {self._item_key!r}: {error}") from None
        return pairs(items, at_path(body, self._scores_path) if self._scores_path else None)

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()


def at_path(body: Any, path: str) -> Any:
    """The value at a dotted path; `ModelFailure` where there is none.

    >>> at_path({"result": {"items": ["a"]}}, "result.items")
    ['a']
    """
    for key in path.split("."):
        if not isinstance(body, dict) or key not in body:
            raise ModelFailure(f"no {path!r} in the answer")
        body = body[key]
    return body
