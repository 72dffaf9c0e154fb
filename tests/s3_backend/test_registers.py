"""Swaps of registers whose outcome is unknown at first: what is told in the end is what happened."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from appliance.model import errors
from appliance_s3.backend import S3Backend
from appliance_s3.probe import Features
from tests.support.faulty_server import RESET, FaultyServer, answer, error, faulty_server
from tests.support.s3_backends import make_backend

LOST = error(500, "InternalError")
REFUSED = error(412, "PreconditionFailed")
MISSING = error(404, "NoSuchKey")
OUR_ID = "0000000000000001"


def register(value: bytes, *ids: str) -> bytes:
    etag = value.hex().rjust(32, "0")
    return answer(200, value, ETag=f'"{etag}"', x_amz_meta_swaps=",".join(ids))


@contextlib.asynccontextmanager
async def facing(
    *answers: bytes, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[S3Backend, FaultyServer]]:
    with faulty_server(*answers) as server:
        backend = make_backend(server.endpoint, "AK", "SK", place="bucket", max_attempts=3)
        assert isinstance(backend, S3Backend)
        monkeypatch.setattr(
            type(backend._host),
            "token_bytes",
            lambda _, size: int(OUR_ID, 16).to_bytes(size, "big"),
        )
        await backend._upstream.start()
        backend._abilities.features = Features.documented()
        try:
            yield backend, server
        finally:
            await backend.stop()


async def outcome(backend: S3Backend) -> str:
    try:
        await backend.compare_and_swap("view", b"old", b"new")
    except errors.RegisterConflictError as conflict:
        return f"conflict with {conflict.actual!r}"
    except errors.BackendUnavailableError as unknown:
        return "unknown" if "unknown outcome" in str(unknown) else str(unknown)
    return "swapped"


OLD = register(b"old", "a")
OURS = register(b"new", OUR_ID, "a")
OTHERS = register(b"else", "c", "b", "a")
OTHERS_AFTER_US = register(b"else", "c", OUR_ID, "a")
LATER = register(b"else", *(f"{number}" for number in range(64)))


@pytest.mark.parametrize("lost", [LOST, RESET])
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((OURS,), "swapped"),
        ((OTHERS_AFTER_US,), "swapped"),
        ((OTHERS,), "conflict with b'else'"),
        ((LATER,), "unknown"),
        ((MISSING,), "unknown"),
        ((OLD, answer(200, ETag='"e"')), "swapped"),
        ((OLD, REFUSED, OURS), "swapped"),
        ((OLD, REFUSED, OTHERS), "conflict with b'else'"),
        ((OLD, LOST, OURS), "swapped"),
        ((OLD, LOST, OLD, LOST, OLD), "unknown"),
        ((LOST,), "unknown"),
    ],
)
async def test_a_swap_whose_answer_is_lost(
    lost: bytes, answers: tuple[bytes, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with facing(OLD, lost, *answers, monkeypatch=monkeypatch) as (backend, server):
        assert await outcome(backend) == expected
        assert all("If-Match" in head for head in server.requests if head.startswith("PUT"))


async def test_a_swap_that_is_refused_at_once_is_a_conflict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with facing(OLD, REFUSED, OTHERS, monkeypatch=monkeypatch) as (backend, _):
        assert await outcome(backend) == "conflict with b'else'"


async def test_the_first_swap_tells_from_the_beginning_who_was_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = register(b"else", "b")
    async with facing(MISSING, LOST, first, monkeypatch=monkeypatch) as (backend, _):
        with pytest.raises(errors.RegisterConflictError):
            await backend.compare_and_swap("view", None, b"new")
