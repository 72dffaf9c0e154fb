"""A backend that can do little and says so conforms too; so does one with local files."""

from __future__ import annotations

import os

import pytest

from appliance.model.errors import UnsupportedError
from appliance.model.objects import NO_CONDITIONS, Conditions
from appliance.plugin import Backend, Capabilities, LocalFile
from appliance.plugin.check import CHECKS, Check, check_backend, run_check
from appliance_example.backend import MemoryBackend
from tests.support.plugin_host import backend_config


def refuse(conditions: Conditions) -> None:
    if conditions:
        raise UnsupportedError("This storage has no conditions.")


class ModestBackend(MemoryBackend):
    """Objects, copies and uploads, and nothing beyond; what it does not declare it refuses."""

    capabilities = Capabilities()
    get_tags = Backend.get_tags
    put_tags = Backend.put_tags
    read_register = Backend.read_register
    compare_and_swap = Backend.compare_and_swap
    validate_nowait = Backend.validate_nowait
    statistics = Backend.statistics

    async def put(self, bucket, key, body, options, conditions=NO_CONDITIONS):
        refuse(conditions)
        if options.tags:
            raise UnsupportedError("This storage has no tags.")
        return await super().put(bucket, key, body, options)

    async def delete(self, bucket, key, conditions=NO_CONDITIONS):
        refuse(conditions)
        await super().delete(bucket, key)

    async def copy(self, *names, conditions=NO_CONDITIONS, **rest):
        refuse(conditions)
        return await super().copy(*names, **rest)

    async def complete_upload(self, bucket, key, upload_id, parts, conditions=NO_CONDITIONS):
        refuse(conditions)
        return await super().complete_upload(bucket, key, upload_id, parts)


class LocalBackend(MemoryBackend):
    """Its objects can be opened as files."""

    capabilities = Capabilities(
        local_files=True,
        conditional_put=True,
        conditional_delete=True,
        tagging=True,
        compare_and_swap=True,
        checksums=frozenset({"sha256"}),
    )

    async def open_local(self, bucket, key, *, version=""):
        stored = self._object(bucket, key, version)
        fd = os.memfd_create("object")
        os.write(fd, stored.data)
        os.lseek(fd, 0, os.SEEK_SET)
        return LocalFile(stored.info, fd)


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[name for name, _ in CHECKS])
async def test_a_modest_backend_conforms(name: str, check: Check) -> None:
    backend = ModestBackend(backend_config())
    await run_check(backend, name, check)
    assert await backend.list_buckets() == []


async def test_a_backend_with_local_files_conforms_and_leaves_none_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    assert len(await check_backend(LocalBackend(backend_config()))) == len(CHECKS)
    assert len(os.listdir("/proc/self/fd")) == before
