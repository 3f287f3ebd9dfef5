import io
import json
import logging

import pytest

from incumbent import logs


@pytest.fixture(autouse=True)
def put_back():
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], _ = before
    root.setLevel(before[1])
    import structlog

    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_json_lines_carry_what_is_bound_and_what_is_said():
    stream = io.StringIO()
    logs.configure("info", "json", stream=stream, part="front-0")
    logs.get("incumbent.x").info("served", plan=3, odd=object)
    logs.get("incumbent.x").debug("too quiet")
    logging.getLogger("somebody.elses").warning("mind %s", "this")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["level"], line["part"]) for line in lines] == [
        ("served", "info", "front-0"), ("mind this", "warning", "front-0")]
    assert lines[0]["plan"] == 3 and lines[0]["timestamp"].endswith("Z")


def test_an_exception_is_told_as_data():
    stream = io.StringIO()
    logs.configure("error", "json", stream=stream)
    try:
        raise ValueError("boom")
    except ValueError as error:
        logs.get("incumbent.x").error("failed", exc_info=error)
    [line] = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert line["exception"][0]["exc_value"] == "boom"


def test_text_is_for_people():
    stream = io.StringIO()
    logs.configure("info", "text", stream=stream, part="loop-0")
    logs.get("incumbent.x").warning("late", by_s=2)
    assert "late" in stream.getvalue() and "by_s=2" in stream.getvalue() and "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_traceback_shows_no_local_variables(style):
    stream = io.StringIO()
    logs.configure("error", style, stream=stream)
    user_id = "".join(["shopper", "-", "7f3a9c"])  # so that it stands in no line of code
    try:
        raise ValueError(f"boom of {len(user_id)} letters")
    except ValueError as error:
        logs.get("incumbent.x").error("failed", exc_info=error)
    assert "boom of 14 letters" in stream.getvalue() and "shopper-7f3a9c" not in stream.getvalue()
