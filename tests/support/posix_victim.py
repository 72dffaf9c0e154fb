"""A process that works on a POSIX backend until it is done or somebody kills it, and says on its standard output what happened.

Run as a script. Each line of standard input, `ROOT NAME JOB SEED`, forks a worker from a process that has everything imported. Lines out, each
written at once and beginning with NAME: `pid N`, then the job's, and `gone` when the worker has ended.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from appliance.model.errors import PreconditionFailedError, RegisterConflictError
from appliance.model.objects import CompletedPart, Conditions, PutOptions
from appliance.plugin import Backend, BytesBody
from tests.support.posix import get, started

KEYS_EACH = 4
TASKS = 3
RACES = 20
INCREMENTS = 15
_MIB = 1 << 20


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


async def churn(backend: Backend, name: str, seed: str) -> None:
    """Put, replace, delete and complete for ever. Lines: `try|ack KEY MD5` before and after; MD5 `-` is a delete."""
    async with trio.open_nursery() as nursery:
        for task in range(TASKS):
            nursery.start_soon(_churn_keys, backend, name, random.Random(f"{seed}-{task}"), task)


async def _churn_keys(backend: Backend, name: str, chance: random.Random, task: int) -> None:
    while True:
        number = chance.randrange(KEYS_EACH)
        # One key is a directory on the way to another; some directories come and go.
        key = f"t{task}/dir" + "/k" * number
        size = chance.choice([0, 10, 3000, 200_000, 2 * _MIB, 6 * _MIB])
        data = chance.randbytes(size)
        act = chance.choice([_put, _put, _delete, _complete])
        said = "-" if act is _delete else md5(data)
        say(name, f"try {key} {said}")
        await act(backend, key, data, chance)
        say(name, f"ack {key} {said}")


async def _put(backend: Backend, key: str, data: bytes, chance: random.Random) -> None:
    # Now and then more metadata than fits into an xattr.
    metadata = {"m": "x" * chance.choice([0, 10, 5000])}
    await backend.put("bucket", key, BytesBody(data), PutOptions(metadata=metadata))


async def _delete(backend: Backend, key: str, data: bytes, chance: random.Random) -> None:
    await backend.delete("bucket", key)


async def _complete(backend: Backend, key: str, data: bytes, chance: random.Random) -> None:
    upload = await backend.create_upload("bucket", key, PutOptions())
    cut = 5 * _MIB if len(data) > 5 * _MIB else 0
    pieces = [data[:cut], data[cut:]] if cut else [data]
    parts = []
    for number, piece in enumerate(pieces, 1):
        part = await backend.put_part("bucket", key, upload.upload_id, number, BytesBody(piece))
        parts.append(CompletedPart(number=number, etag=part.etag))
    await backend.complete_upload("bucket", key, upload.upload_id, parts)


async def race(backend: Backend, name: str, seed: str) -> None:
    """Create keys that others want to create too. Lines: `won KEY`."""
    for number in range(RACES):
        body = BytesBody(name.encode() * 1000)
        try:
            conditions = Conditions(if_none_match=("*",))
            await backend.put("bucket", f"race{number}", body, PutOptions(), conditions)
        except PreconditionFailedError:
            continue
        say(name, f"won race{number}")


async def count(backend: Backend, name: str, seed: str) -> None:
    """Add to a number in an object by If-Match, and to one in a register by compare-and-swap."""
    done = 0
    while done < INCREMENTS:
        etag = (await backend.head("bucket", "number")).etag
        value = int(await get(backend, "number"))
        body = BytesBody(str(value + 1).encode())
        try:
            await backend.put("bucket", "number", body, PutOptions(), Conditions(if_match=(etag,)))
        except PreconditionFailedError:
            continue
        done += 1
    done = 0
    while done < INCREMENTS:
        current = await backend.read_register("number")
        try:
            await backend.compare_and_swap(
                "number", current, str(int(current or b"0") + 1).encode()
            )
        except RegisterConflictError:
            continue
        done += 1
    say(name, "counted")


async def part(backend: Backend, name: str, seed: str) -> None:
    """Begin an upload and put one part of it. Line: `upload ID ETAG`."""
    upload = await backend.create_upload("bucket", "shared", PutOptions(metadata={"m": "1"}))
    info = await backend.put_part(
        "bucket", "shared", upload.upload_id, 1, BytesBody(b"p" * 5 * _MIB)
    )
    say(name, f"upload {upload.upload_id} {info.etag}")


# What changes names or records. A process that dies between two of these leaves what a crash at that point would.
_CHANGES = ("link", "rename", "unlink", "rmdir", "mkdir", "setxattr")


async def step(backend: Backend, name: str, seed: str) -> None:
    """Change one object and die before the n-th call that changes names. `seed`: `BUCKET,CHANGE,VERSION_ID,N`. Line: `done`, if it came so far."""
    bucket, change, version_id, number = seed.split(",")
    left = int(number)

    def counted(call: Callable[..., object]) -> Callable[..., object]:
        def function(*args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)
            return call(*args, **kwargs)

        return function

    for call in _CHANGES:
        setattr(os, call, counted(getattr(os, call)))
    if change == "put":
        await backend.put(bucket, "dir/key", BytesBody(b"new"), PutOptions())
    else:
        await backend.delete(bucket, "dir/key", version_id=version_id)
    say(name, "done")


JOBS: dict[str, Callable[[Backend, str, str], Awaitable[None]]] = {
    "churn": churn,
    "race": race,
    "count": count,
    "part": part,
    "step": step,
}


def say(name: str, line: str) -> None:
    os.write(1, f"{name} {line}\n".encode())  # shorter than PIPE_BUF: never torn


async def _work(root: str, name: str, job: str, seed: str) -> None:
    metadata = "sidecar" if root.endswith("-sidecar") else "auto"
    async with started(Path(root), metadata=metadata) as backend:
        await JOBS[job](backend, name, seed)


def main() -> None:
    children: list[tuple[int, str]] = []
    for line in sys.stdin:
        if line.strip() == "wait":
            for pid, name in children:
                os.waitpid(pid, 0)
                say(name, "gone")
            children.clear()
            continue
        root, name, job, seed = line.split()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                trio.run(_work, root, name, job, seed)
                status = 0
            except BaseException as error:
                say(name, "failed " + repr(error).replace("\n", " ")[:2000])
                raise
            finally:
                os._exit(status)
        children.append((pid, name))
        say(name, f"pid {pid}")


if __name__ == "__main__":
    main()
