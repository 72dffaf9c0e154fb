"""The example backend keeps the whole contract; so the kit can be passed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from appliance.plugin import Backend
from appliance.plugin.check import CHECKS, Check, NotConformingError, check_backend, run_check
from appliance_example.backend import MemoryBackend
from appliance_example.plugin import appliance_backend
from tests.support.plugin_host import backend_config


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = appliance_backend("memory://", backend_config())
    assert backend is not None
    await backend.start()
    yield backend
    await backend.stop()


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
async def test_each_check(name: str, check: Check, backend: Backend) -> None:
    await run_check(backend, name, check)
    assert await backend.list_buckets() == []


async def test_everything_in_one_call(backend: Backend) -> None:
    assert await check_backend(backend) == [name for name, _ in CHECKS]


async def test_with_a_second_backend_on_the_same_store(backend: Backend) -> None:
    assert isinstance(backend, MemoryBackend)
    other = MemoryBackend(backend_config("other"), store=backend.store)
    names = {name for name, _ in CHECKS if name.startswith("sharing.")}
    assert set(await check_backend(backend, other=other, only=names)) == names
    with pytest.raises(NotConformingError) as caught:
        await check_backend(backend, other=MemoryBackend(backend_config()), only=names)
    assert len(caught.value.exceptions) == len(names)


async def test_within_a_bucket_of_somebody_else(backend: Backend) -> None:
    await backend.create_bucket("shared")
    assert len(await check_backend(backend, bucket="shared", seed=2)) == len(CHECKS)
    assert [bucket.name for bucket in await backend.list_buckets()] == ["shared"]
    await backend.delete_bucket("shared")
