"""Bodies that do not come as they should: stopped half-way, or refused while they are still sent."""

from __future__ import annotations

import asyncio
import contextlib

from incumbent.errors import DataError
from incumbent.service.asgi import Message, Receive

WASTE_S = 0.5  # that the next piece of a body nobody wants is waited for


class BodyTimeoutError(DataError):
    """The body stopped half-way and did not go on."""

    code, status = "timeout", 408


class Timely:
    """`receive` under the time limit of a body, until that is complete or the answer begun; `late` once it passed.

    Frameworks turn an error out of `receive` into an answer of their own: `late` is raised again where they send it.
    """

    def __init__(self, receive: Receive, limit_s: float) -> None:
        self._receive, self._limit_s = receive, limit_s
        self._until: float | None = None  # on the event loop's clock, from the first look at the body
        self._size, self.done = 0, False
        self.late: BodyTimeoutError | None = None

    async def __call__(self) -> Message:
        if self.done:
            return await self._receive()
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._limit_s
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            if self.done:  # the answer began meanwhile
                return await self._receive()
            self.late = BodyTimeoutError("the body stopped half-way", got=f"{self._size} bytes",
                                         expected=f"the rest within {self._limit_s:g} s")
            raise self.late from None
        self._size += len(message.get("body", b""))
        self.done = self.done or not message.get("more_body")
        return message


async def waste(scope: Message, receive: Receive, *, most: int, limit_s: float) -> bool:
    """Read up to `most` bytes of what is left of a body that is refused: who is still sending sees no answer before the
    end of it. False where the sender went away.

    Nothing is waited for that was not begun, nor from who asks first whether to send.
    """
    if any(name == b"expect" for name, _ in scope["headers"]):
        return True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while most > 0:
                async with asyncio.timeout(WASTE_S):
                    message = await receive()
                if not message.get("more_body"):
                    return bool(message["type"] != "http.disconnect")
                most -= len(message.get("body", b""))
    return True
