"""What comes in through the control socket: anything, and every line of it gets an answer."""

from __future__ import annotations

import json

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.assembly.accounts import respond
from appliance.auth.accounts.commands import Issued, Refused, decode_answer
from tests.support.accounts import account_store

NAMES = st.sampled_from(["alice", "bob", "root", "anonymous", "", "a/b", "x" * 65, "é"])
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([])
COMMANDS = st.fixed_dictionaries(
    {"type": st.sampled_from(["add", "list", "switch", "rotate", "remove", "modify", "other"])},
    optional={
        "name": NAMES,
        "access_key": st.sampled_from(["", "AK1", "a b"]),
        "role": st.sampled_from(["user", "admin", "king"]) | VALUES,
        "disabled": VALUES,
        "keep": VALUES,
        "uid": VALUES,
        "gids": st.lists(st.integers(), max_size=2) | VALUES,
        "user": st.lists(st.integers(), max_size=2) | VALUES,
        "pair": st.fixed_dictionaries(
            {}, optional={"access_key": VALUES, "secret_key": st.just("s3cret-and-long") | VALUES}
        ),
    },
)
LINES = st.binary(max_size=60) | COMMANDS.map(lambda command: json.dumps(command).encode())


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=8))
def test_every_line_is_answered_and_refusals_repeat_no_secret(tmp_path_factory, lines):
    async def run():
        async with account_store(tmp_path_factory.mktemp("accounts")) as store:
            for line in lines:
                answer = decode_answer(await respond(store, line))
                if not isinstance(answer, Issued):
                    assert "s3cret" not in repr(answer)

    trio.run(run)


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"type": "add"}', b'{"type": "drop"}'])
async def test_what_is_no_command_is_refused(tmp_path, line):
    async with account_store(tmp_path) as store:
        answer = decode_answer(await respond(store, line))
    assert isinstance(answer, Refused)
    assert "does not know this command" in answer.reason
