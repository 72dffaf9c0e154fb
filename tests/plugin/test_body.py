"""Bodies in memory, and bodies that compute what others lack."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.checksums import ALGORITHMS
from appliance.plugin import Body, BytesBody, ChecksummedBody
from appliance.plugin.check.bodies import FailingBody, ScribblingBody


async def whole(body: Body) -> bytes:
    return b"".join([bytes(chunk) async for chunk in body])


@given(data=st.binary(max_size=40), chunk_bytes=st.integers(1, 50))
async def test_a_body_in_memory_yields_its_bytes_in_chunks(data: bytes, chunk_bytes: int) -> None:
    body = BytesBody(data, ("crc32", "sha256"), chunk_bytes)
    chunks = [bytes(chunk) async for chunk in body]
    assert b"".join(chunks) == data
    assert all(0 < len(chunk) <= chunk_bytes for chunk in chunks)
    assert body.size == len(data)
    assert body.known == body.digests().checksums.keys() == {"crc32", "sha256"}
    assert body.digests().md5 == hashlib.md5(data).hexdigest()


@pytest.mark.parametrize("told", [(), ("crc32",), ("crc32", "sha256"), ALGORITHMS])
@pytest.mark.parametrize("wanted", [(), ("crc32",), ("sha1", "crc64nvme"), ALGORITHMS])
async def test_missing_checksums_are_computed_and_told_ones_kept(
    told: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    data = bytes(range(256)) * 9
    body = ChecksummedBody(BytesBody(data, told, chunk_bytes=100), wanted)
    assert (body.size, body.known) == (len(data), frozenset(told) | set(wanted))
    assert await whole(body) == data
    expected = BytesBody(data, tuple(body.known)).digests()
    assert body.digests() == expected


async def test_chunks_that_share_a_buffer_are_hashed_in_time() -> None:
    data = bytes(range(256)) * 9
    body = ChecksummedBody(ScribblingBody(data, chunk_bytes=100), ("crc32c",))
    assert await whole(body) == data
    assert body.digests().checksums == BytesBody(data, ("crc32c",)).digests().checksums


async def test_an_error_of_the_inner_body_comes_through() -> None:
    error = RuntimeError("the sender is gone")
    body = ChecksummedBody(FailingBody(b"x" * 100, good_bytes=50, error=error), ("crc32",))
    with pytest.raises(RuntimeError) as caught:
        await whole(body)
    assert caught.value is error
