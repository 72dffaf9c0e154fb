"""One bucket, below a prefix: what lies elsewhere in it is not there, and registers stay out of sight."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from appliance.model import errors
from appliance.model.objects import ListRequest, PutOptions
from appliance.model.ranges import RangeSpec
from appliance.plugin import Backend, BytesBody
from appliance.plugin.check import CHECKS, Allowances
from tests.support.ceph import Ceph
from tests.support.s3_backends import conform, make_backend, started

BUCKET = "one-bucket"
# Where the prefix matters; what reads and writes do besides is tested without one.
CHOSEN = (
    "objects.come_back_as_they_were_put",
    "objects.are_deleted_many_at_once",
    "names.nested_ones_coexist",
    "names.slashes_round_trip",
    "names.unicode_ones_round_trip",
    "listing.",
    "copies.take_everything_along",
    "uploads.after_a_key_marker",
    "registers.",
)


@contextlib.asynccontextmanager
async def below(ceph: Ceph, prefix: str) -> AsyncIterator[Backend]:
    """A backend for what lies below `prefix`; the bucket is made if need be."""
    keys = (ceph.endpoint, ceph.access_key, ceph.secret_key)
    async with started(make_backend(*keys)) as account:
        with contextlib.suppress(errors.BucketExistsError):
            await account.create_bucket(BUCKET)
    async with started(make_backend(*keys, place=f"{BUCKET}/{prefix}")) as backend:
        yield backend


async def put(backend: Backend, key: str) -> None:
    await backend.put(BUCKET, key, BytesBody(key.encode()), PutOptions())


async def keys_of(backend: Backend, **request: str) -> list[str]:
    page = await backend.list_objects(BUCKET, ListRequest(**request))
    return [info.key for info in page.objects] + list(page.common_prefixes)


@pytest.mark.real
async def test_keys_lie_below_the_prefix_and_are_told_without_it(ceph: Ceph) -> None:
    async with below(ceph, "outer") as outer, below(ceph, "outer/inner") as inner:
        await put(outer, "a")
        await put(inner, "b")
        assert await keys_of(inner) == ["b"]
        assert await keys_of(outer) == ["a", "inner/b"]
        assert await keys_of(outer, delimiter="/") == ["a", "inner/"]
        assert await keys_of(outer, start_after="a") == ["inner/b"]
        assert (await inner.head(BUCKET, "b")).key == "b"
        with pytest.raises(errors.NoSuchKeyError):
            await inner.head(BUCKET, "a")
        outcomes = await outer.delete_many(BUCKET, ["a", "inner/b"])
        assert [outcome.error for outcome in outcomes] == [None, None]
        assert await keys_of(outer) == []


@pytest.mark.real
async def test_no_other_bucket_is_there(ceph: Ceph) -> None:
    async with below(ceph, "p") as backend:
        assert [info.name for info in await backend.list_buckets()] == [BUCKET]
        with pytest.raises(errors.NoSuchBucketError):
            await backend.head("another-bucket", "a")
        with pytest.raises(errors.AccessDeniedError):
            await backend.create_bucket("another-bucket")
        with pytest.raises(errors.BucketExistsError):
            await backend.create_bucket(BUCKET)
        with pytest.raises(errors.AccessDeniedError):
            await backend.delete_bucket(BUCKET)


@pytest.mark.real
async def test_a_bucket_that_does_not_exist_is_refused_at_start(ceph: Ceph) -> None:
    keys = (ceph.endpoint, ceph.access_key, ceph.secret_key)
    backend = make_backend(*keys, place="no-such-bucket-at-all")
    with pytest.raises(errors.ConfigError, match="no-such-bucket-at-all does not exist"):
        await backend.start()
    await backend.stop()


@pytest.mark.real
async def test_wrong_keys_are_refused_at_start(ceph: Ceph) -> None:
    backend = make_backend(ceph.endpoint, ceph.access_key, "not-the-secret-key")
    with pytest.raises(errors.BackendDeniedError) as caught:
        await backend.start()
    assert "not-the-secret-key" not in str(caught.value)
    await backend.stop()


@pytest.mark.real
async def test_registers_swap_and_stay_out_of_sight(ceph: Ceph) -> None:
    async with below(ceph, "registers") as backend:
        assert backend.capabilities.compare_and_swap
        assert await backend.read_register("view") is None
        await backend.compare_and_swap("view", None, b"1")
        with pytest.raises(errors.RegisterConflictError) as caught:
            await backend.compare_and_swap("view", None, b"2")
        assert caught.value.actual == b"1"
        await backend.compare_and_swap("view", b"1", b"2")
        assert await backend.read_register("view") == b"2"
        with pytest.raises(errors.RegisterConflictError):
            await backend.compare_and_swap("view", b"1", b"3")
        assert await keys_of(backend) == []
        name = ".appliance/s3/registers/view"
        with pytest.raises(errors.NoSuchKeyError):
            await backend.head(BUCKET, name)
        with pytest.raises(errors.AccessDeniedError):
            await put(backend, name)
        [outcome] = await backend.delete_many(BUCKET, [name])
        assert isinstance(outcome.error, errors.AccessDeniedError)


@pytest.mark.real
async def test_an_account_has_registers_only_where_it_is_told(ceph: Ceph) -> None:
    keys = (ceph.endpoint, ceph.access_key, ceph.secret_key)
    async with started(make_backend(*keys)) as backend:
        assert not backend.capabilities.compare_and_swap
        with pytest.raises(errors.UnsupportedError, match="register_bucket"):
            await backend.read_register("view")
    async with below(ceph, ""), started(make_backend(*keys, register_bucket=BUCKET)) as backend:
        assert backend.capabilities.compare_and_swap
        await backend.compare_and_swap("of-an-account", None, b"1")
        assert await backend.read_register("of-an-account") == b"1"


@pytest.mark.real
async def test_the_contract_holds_below_a_prefix(ceph: Ceph) -> None:
    async with below(ceph, "kit") as backend:
        allow = Allowances(part_sizes=False, many=30)
        checks = [(name, check) for name, check in CHECKS if name.startswith(CHOSEN)]
        assert len(checks) >= len(CHOSEN)
        assert await conform(backend, allow, checks, BUCKET) == {}


@pytest.mark.real
@pytest.mark.parametrize("parallel", [1, 3])
async def test_a_large_range_comes_whole_and_in_order(ceph: Ceph, parallel: int) -> None:
    data = b"".join(number.to_bytes(4, "big") for number in range(5 << 20))
    keys = (ceph.endpoint, ceph.access_key, ceph.secret_key)
    async with below(ceph, "large"):
        pass
    backend = make_backend(*keys, place=f"{BUCKET}/large", read_parallelism=parallel)
    async with started(backend):
        info = await backend.put(BUCKET, "a", BytesBody(data), PutOptions())
        asked = RangeSpec(3, len(data) + 100)
        async with backend.read(BUCKET, "a", asked, version=info.version) as stream:
            got = b"".join([chunk async for chunk in stream])
        assert got == data[3:]
        async with backend.read(BUCKET, "a", asked) as stream:
            async for _ in stream:
                break  # a reader may go at any time
        await backend.delete(BUCKET, "a")
