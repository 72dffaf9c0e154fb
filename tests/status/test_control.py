"""The control socket: who is answered, and what is not."""

from __future__ import annotations

import functools
import os
import socket
import stat
import subprocess
import sys

import pytest
import trio

from appliance.status import control


async def echo(value: bytes) -> bytes:
    return value[::-1]


ask = functools.partial(trio.to_thread.run_sync, control.ask)


async def test_a_value_goes_to_its_topic_and_the_answer_comes_back(tmp_path, nursery):
    await nursery.start(control.serve, tmp_path, {"echo": echo})
    assert await ask(tmp_path, "echo", b'{"a": 1}') == b'}1 :"a"{'
    assert await ask(tmp_path, "echo", b"again") == b"niaga"


async def test_nobody_answers_where_no_node_runs(tmp_path):
    assert await ask(tmp_path, "echo", b"x") is None
    assert await ask(tmp_path / "missing", "echo", b"x") is None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / control.NAME))  # what a killed process leaves
    assert await ask(tmp_path, "echo", b"x") is None


async def test_what_a_killed_process_left_is_replaced_and_nothing_is_left(tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / control.NAME))
    async with trio.open_nursery() as nursery:
        await nursery.start(control.serve, tmp_path, {"echo": echo})
        assert await ask(tmp_path, "echo", b"x") == b"x"
        nursery.cancel_scope.cancel()
    assert not (tmp_path / control.NAME).exists()


async def test_only_its_owner_may_open_it(tmp_path, nursery):
    await nursery.start(control.serve, tmp_path, {"echo": echo})
    mode = (tmp_path / control.NAME).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert mode & 0o077 == 0


async def test_long_directories_are_no_obstacle(tmp_path, nursery):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    await nursery.start(control.serve, deep, {"echo": echo})
    assert await ask(deep, "echo", b"x") == b"x"


@pytest.mark.parametrize(
    "request_bytes", [b"unknown x\n", b"\n", b"echo no end", b"echo " + b"x" * 200_000 + b"\n"]
)
async def test_what_is_no_request_is_not_answered(tmp_path, nursery, request_bytes):
    await nursery.start(control.serve, tmp_path, {"echo": echo})
    async with await trio.open_unix_socket(str(tmp_path / control.NAME)) as stream:
        try:
            await stream.send_all(request_bytes)
            await stream.send_eof()
            assert await stream.receive_some() == b""
        except trio.BrokenResourceError:
            pass  # it did not even listen to the end
    assert await ask(tmp_path, "echo", b"x") == b"x"


@pytest.mark.real
async def test_other_users_are_turned_away_even_if_they_get_at_the_file(tmp_path, nursery):
    assert os.geteuid() == 0, "needs root, to be somebody else"
    await nursery.start(control.serve, tmp_path, {"echo": echo})
    (tmp_path / control.NAME).chmod(0o666)
    tmp_path.chmod(0o755)
    program = (
        "import os, socket, sys\n"
        "sock = socket.socket(socket.AF_UNIX)\n"
        "os.chdir(sys.argv[1])\n"
        "os.setuid(65534)\n"
        f"sock.connect({control.NAME!r})\n"
        "try:\n"
        "    sock.sendall(b'echo x\\n')\n"
        "    print(repr(sock.recv(10)))\n"
        "except (BrokenPipeError, ConnectionResetError):\n"
        "    print(repr(b''))\n"
    )
    done = await trio.run_process(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_stdout=True,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.stdout == b"b''\n"
