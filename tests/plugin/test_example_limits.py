"""The bound on what the example backend keeps."""

from __future__ import annotations

import pytest

from appliance.model.errors import NoSuchKeyError, StorageFullError
from appliance.model.objects import PutOptions
from appliance.plugin import BytesBody
from appliance_example.backend import MemoryBackend
from appliance_example.plugin import appliance_backend
from tests.support.plugin_host import backend_config


async def test_what_does_not_fit_is_refused_and_leaves_nothing() -> None:
    backend = appliance_backend("memory://", backend_config(max_bytes=100))
    assert isinstance(backend, MemoryBackend)
    await backend.create_bucket("bucket")
    await backend.put("bucket", "a", BytesBody(b"x" * 60), PutOptions())
    upload = await backend.create_upload("bucket", "b", PutOptions())
    attempts = [
        lambda: backend.put("bucket", "b", BytesBody(b"y" * 41), PutOptions()),
        lambda: backend.copy("bucket", "a", "bucket", "b"),
        lambda: backend.put_part("bucket", "b", upload.upload_id, 1, BytesBody(b"y" * 41)),
        lambda: backend.copy_part("bucket", "a", "bucket", "b", upload.upload_id, 1),
    ]
    for attempt in attempts:
        with pytest.raises(StorageFullError, match="keeps 100 bytes"):
            await attempt()
    with pytest.raises(NoSuchKeyError):
        await backend.head("bucket", "b")
    assert backend.statistics() == {"objects": 1, "uploads": 1, "used_bytes": 60}
    await backend.put("bucket", "b", BytesBody(b"y" * 40), PutOptions())


async def test_two_backends_may_share_a_store_as_nodes_share_a_storage() -> None:
    first = MemoryBackend(backend_config())
    second = MemoryBackend(backend_config(), store=first.store)
    await first.create_bucket("bucket")
    mine = await first.put("bucket", "a", BytesBody(b"1"), PutOptions())
    theirs = await second.put("bucket", "a", BytesBody(b"2"), PutOptions())
    assert mine.version != theirs.version
    assert await first.head("bucket", "a") == theirs
