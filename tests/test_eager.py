"""What is begun on the caller's stack ends as if it had been awaited whole."""

import asyncio

import pytest

from incumbent.eager import Rest, begin


async def waits(for_what):
    try:
        return [await for_what]
    except ValueError as error:
        return error


def test_what_never_suspends_is_there_at_once_and_its_error_too():
    async def fails():
        raise KeyError("x")

    assert begin(asyncio.sleep(0, 7)).__class__ is Rest  # a bare yield is a suspension

    async def at_once():
        return None

    assert begin(at_once()) is None
    with pytest.raises(KeyError):
        begin(fails())


def test_the_rest_gives_the_result_the_error_and_the_cancellation_to_whoever_began_it():
    async def main():
        loop = asyncio.get_running_loop()
        good, bad, never = (loop.create_future() for _ in range(3))
        rests = [begin(waits(future)) for future in (good, bad, never)]
        assert all(isinstance(rest, Rest) for rest in rests)
        good.set_result(1)
        bad.set_exception(ValueError("told"))
        assert await rests[0] == [1]
        assert str(await asyncio.ensure_future(rests[1])) == "told"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await rests[2]
        assert never.cancelled()

    asyncio.run(main())


def test_any_awaitable_can_be_begun():
    async def main():
        future = asyncio.get_running_loop().create_future()
        rest = begin(future)
        future.set_result("late")
        assert await rest == "late"
        assert begin(future) == "late"

    asyncio.run(main())
