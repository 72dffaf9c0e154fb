"""One record is one line, in text and in JSON, whatever a client put into it."""

from __future__ import annotations

import io
import json
import logging

import pytest

from appliance.world import logs


@pytest.fixture
def restored():
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.getLogger(logs.ROOT).level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    logging.getLogger(logs.ROOT).setLevel(before[2])


def test_json_lines_carry_the_fields(restored):
    stream = io.StringIO()
    logs.setup("info", as_json=True, stream=stream)
    logging.getLogger("appliance.s3").info(
        "request", extra={"fields": {"status": 200, "key": "a\nb"}}
    )
    logging.getLogger("appliance.s3").debug("not shown")
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert record["message"] == "request"
    assert record["status"] == 200
    assert record["key"] == "a\nb"
    assert record["level"] == "info"
    assert record["time"].endswith("Z")


def test_a_key_cannot_forge_a_line_of_text(restored):
    stream = io.StringIO()
    logs.setup("info", as_json=False, stream=stream)
    logging.getLogger("appliance.s3").warning(
        "no such key %s", "a\n2026-01-01 info forged", extra={"fields": {"n": 1}}
    )
    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue().rstrip().endswith("n=1")


def test_an_exception_is_in_the_record(restored):
    stream = io.StringIO()
    logs.setup("info", as_json=True, stream=stream)
    try:
        int("reason")
    except ValueError:
        logging.getLogger("appliance").exception("failed")
    assert "ValueError: invalid literal" in json.loads(stream.getvalue())["exception"]
