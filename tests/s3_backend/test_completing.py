"""Completing uploads: what is missing, the upload or the object that `If-Match` speaks of."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from appliance.model.errors import ApplianceError, NoSuchKeyError, NoSuchUploadError
from appliance.model.objects import NO_CONDITIONS, CompletedPart, Conditions
from appliance_s3.backend import S3Backend
from appliance_s3.probe import Features
from tests.support.faulty_server import FaultyServer, answer, error, faulty_server
from tests.support.s3_backends import make_backend

MD5 = "0123456789abcdef0123456789abcdef"
PARTS = (CompletedPart(number=1, etag=MD5),)
REPLACING = Conditions(if_match=(MD5,))
LISTED = answer(
    200,
    b"<ListPartsResult><Bucket>bucket</Bucket><Key>key</Key><UploadId>id</UploadId></ListPartsResult>",
)
GONE = error(404, "NoSuchKey")


@contextlib.asynccontextmanager
async def facing(*answers: bytes) -> AsyncIterator[tuple[S3Backend, FaultyServer]]:
    """A backend that takes its upstream, which gives these answers, for one that can do everything."""
    with faulty_server(*answers) as server:
        backend = make_backend(server.endpoint, "ACCESSKEY", "secret")
        assert isinstance(backend, S3Backend)
        await backend._upstream.start()
        backend._abilities.features = Features.documented()
        backend._abilities.noted("bucket", versioned=False)
        try:
            yield backend, server
        finally:
            await backend.stop()


@pytest.mark.parametrize(
    ("answers", "conditions", "expected"),
    [
        ((GONE, LISTED), REPLACING, NoSuchKeyError),
        ((GONE, GONE), REPLACING, NoSuchUploadError),
        ((GONE, error(404, "NoSuchUpload")), REPLACING, NoSuchUploadError),
        ((GONE,), NO_CONDITIONS, NoSuchUploadError),
        ((GONE,), Conditions(if_none_match=("*",)), NoSuchUploadError),
    ],
    ids=["object", "upload, as radosgw says it", "upload", "unconditional", "creating"],
)
async def test_what_is_missing_is_named(
    answers: tuple[bytes, ...], conditions: Conditions, expected: type[ApplianceError]
) -> None:
    async with facing(*answers) as (backend, server):
        with pytest.raises(expected):
            await backend.complete_upload("bucket", "key", "id", PARTS, conditions)
        assert len(server.requests) == len(answers)
