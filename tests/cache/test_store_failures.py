import errno
import os

import pytest
import trio

from appliance.model.errors import BackendUnavailableError
from appliance.world.disk import Disk
from tests.support.cache_stack import MIB, stack
from tests.support.disks import tiny_disk

pytestmark = pytest.mark.usefixtures("each_way")

FOR_EVER = float("inf")


class FailingDisk(Disk):
    """Writes fail with `errno` once `budget` bytes are written."""

    def __init__(self, code=errno.ENOSPC):
        self.code = code
        self.budget = 1 << 40

    def _spend(self, size):
        self.budget -= size
        if self.budget < 0:
            raise OSError(self.code, os.strerror(self.code))

    def create(self, path):
        self._spend(1)
        return super().create(path)

    def write(self, fd, offset, data):
        self._spend(len(data))
        super().write(fd, offset, data)

    def replace(self, path, content):
        self._spend(len(content))
        super().replace(path, content)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("size", [100, 3 * MIB, 20 * MIB])
@pytest.mark.parametrize("budget", [0, 50, 2 * MIB])
async def test_a_disk_that_takes_nothing_is_never_an_error_for_the_client(
    tmp_path, code, size, budget
):
    disk = FailingDisk(code)
    data = os.urandom(size)
    async with stack(tmp_path, disk=disk, freshness_s=FOR_EVER) as s:
        disk.budget = budget
        await s.backend.foreign_put("data", "k", data)
        assert await s.get("k") == data
        await s.put("k2", data)
        assert await s.get("k2") == data
        disk.budget = 1 << 40
        assert await s.get("k") == data
        await s.quiet()
        assert s.nowait("k")
        assert await s.get("k") == data


async def test_a_reader_whose_disk_fills_up_midway_goes_on_past_the_cache(tmp_path):
    disk = FailingDisk()
    data = os.urandom(20 * MIB)
    async with stack(tmp_path, disk=disk, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", data)
        disk.budget = 3 * MIB
        reader = await s.cache.open("data", "k")
        got = b""
        while len(got) < len(data):
            count = await reader.available(len(got), len(data) - len(got))
            assert reader.available_nowait(len(got), count) == count
            got += os.pread(reader.fd, count, len(got))
        assert os.fstat(reader.fd).st_blocks * 512 < 17 * MIB
        assert await reader.read(5, MIB) == data[5 : 5 + MIB]
        reader.close()
        assert got == data
        assert reader.source == "direct"


async def test_a_stream_past_the_cache_can_be_left_in_the_middle(tmp_path):
    disk = FailingDisk()
    async with stack(tmp_path, disk=disk, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", bytes(8 * MIB))
        disk.budget = 0
        reader = await s.cache.open("data", "k")
        assert reader.fd == -1
        assert len(await anext(reader.stream(0, 8 * MIB))) > 0
        reader.close()
        await trio.testing.wait_all_tasks_blocked()
        assert s.cache.statistics()["fetches_in_flight"] == 0


async def test_an_object_larger_than_the_cache_is_read_past_it(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER, capacity_bytes=4 * MIB) as s:
        data = os.urandom(5 * MIB)
        await s.put("k", data)
        assert await s.get("k") == data
        await s.quiet()
        assert s.files() == []


@pytest.mark.real
async def test_a_full_filesystem_is_a_normal_state(tmp_path):
    with tiny_disk(tmp_path / "disk", 24 * MIB) as root:
        async with stack(root, freshness_s=FOR_EVER, capacity_bytes=1 << 40) as s:
            datas = {f"k{n}": os.urandom(5 * MIB) for n in range(8)}
            for key, data in datas.items():
                await s.backend.foreign_put("data", key, data)
            for _ in range(2):
                for key, data in datas.items():
                    assert await s.get(key) == data
                    await s.quiet()
            assert s.cache.statistics()["evicted_objects_total"] > 0


async def test_a_cached_file_that_cannot_be_read_is_fetched_anew(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        data = os.urandom(MIB)
        await s.put("k", data)
        reader = await s.cache.open("data", "k")
        os.truncate(s.files()[0], 1000)
        assert await reader.read(0, MIB) == data
        reader.close()
        assert await s.get("k") == data
        assert s.backend.asked["read"] > 1


async def test_a_stream_that_ends_early_is_an_error(tmp_path):
    async with stack(tmp_path, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", bytes(8 * MIB))
        s.backend.cut_after = 3 * MIB
        reader = await s.cache.open("data", "k")
        with pytest.raises(BackendUnavailableError, match="bytes of"):
            await reader.read(0, 8 * MIB)
        reader.close()


async def test_a_stream_past_the_cache_that_ends_early_is_an_error(tmp_path):
    disk = FailingDisk()
    async with stack(tmp_path, disk=disk, freshness_s=FOR_EVER) as s:
        await s.backend.foreign_put("data", "k", bytes(8 * MIB))
        disk.budget = 0
        reader = await s.cache.open("data", "k")
        s.backend.cut_after = 3 * MIB
        with pytest.raises(BackendUnavailableError, match="incomplete"):
            await reader.read(0, 8 * MIB)
        reader.close()
