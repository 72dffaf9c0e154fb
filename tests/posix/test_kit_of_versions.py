"""The kit's checks of versions and ACLs find bugs that are planted into the backend that has both."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from appliance.model.errors import NoSuchVersionError
from appliance.model.objects import NULL_VERSION, Deleted, Versioning, VersionListRequest
from appliance.plugin.check import NotConformingError, check_backend
from appliance_posix import config
from appliance_posix.backend import PosixBackend
from tests.support.plugin_host import backend_config


class ForgetsTheState(PosixBackend):
    async def put_versioning(self, bucket, state):
        pass


class OverwritesOldVersions(PosixBackend):
    async def put(self, bucket, key, *rest):
        info = await super().put(bucket, key, *rest)
        if info.version_id not in {"", NULL_VERSION}:
            page = await self.list_versions(bucket, VersionListRequest())
            for one in page.versions[2:]:
                await super().delete(bucket, key, version_id=one.info.version_id)
        return info


class DeletesForGood(PosixBackend):
    async def delete(self, bucket, key, *conditions, version_id=""):
        if not version_id and await self.get_versioning(bucket) is Versioning.ENABLED:
            info = await self.head(bucket, key)
            return await super().delete(bucket, key, version_id=info.version_id)
        return await super().delete(bucket, key, *conditions, version_id=version_id)


class TellsNoMarkers(PosixBackend):
    async def delete(self, bucket, key, *conditions, version_id=""):
        await super().delete(bucket, key, *conditions, version_id=version_id)
        return Deleted()


class TakesAnyId(PosixBackend):
    async def head(self, bucket, key, *, version_id=""):
        try:
            return await super().head(bucket, key, version_id=version_id)
        except NoSuchVersionError:
            return await super().head(bucket, key)


class ListsTheOldestFirst(PosixBackend):
    async def list_versions(self, bucket, request):
        page = await super().list_versions(bucket, request)
        return msgspec.structs.replace(page, versions=page.versions[::-1])


class RepeatsAtEachPage(PosixBackend):
    async def list_versions(self, bucket, request):
        request = msgspec.structs.replace(request, version_id_marker="")
        return await super().list_versions(bucket, request)


class CopiesTheCurrentOne(PosixBackend):
    async def copy(self, *names, source_version_id="", **rest):
        return await super().copy(*names, **rest)


class TagsTheCurrentOne(PosixBackend):
    async def put_tags(self, bucket, key, tags, *, version_id=""):
        return await super().put_tags(bucket, key, tags)


class NewIdWithNewTags(PosixBackend):
    async def put_acl(self, bucket, key, acl, *, version_id=""):
        info = await super().put_acl(bucket, key, acl, version_id=version_id)
        return msgspec.structs.replace(info, version_id="another")


class CopiesKeepTheirSourcesAcl(PosixBackend):
    async def copy(self, *names, acl=b"", **rest):
        source = await self.head(*names[:2])
        return await super().copy(*names, acl=source.acl, **rest)


class LosesTheOwner(PosixBackend):
    async def put(self, bucket, key, body, options, *conditions):
        options = msgspec.structs.replace(options, owner="")
        return await super().put(bucket, key, body, options, *conditions)


BUGS = [
    (ForgetsTheState, "history.stay_when_overwritten"),
    (OverwritesOldVersions, "history.stay_when_overwritten"),
    (DeletesForGood, "history.are_covered_by_delete_markers"),
    (TellsNoMarkers, "history.are_covered_by_delete_markers"),
    (TellsNoMarkers, "history.of_suspended_buckets_are_null"),
    (TakesAnyId, "history.are_not_forged"),
    (TakesAnyId, "history.go_one_by_one"),
    (ListsTheOldestFirst, "history.stay_when_overwritten"),
    (RepeatsAtEachPage, "history.are_listed_by_pages"),
    (CopiesTheCurrentOne, "history.are_sources_of_copies"),
    (TagsTheCurrentOne, "history.have_tags_of_their_own"),
    (NewIdWithNewTags, "history.have_tags_of_their_own"),
    (CopiesKeepTheirSourcesAcl, "acls.of_copies_are_their_own"),
    (LosesTheOwner, "acls.come_and_go"),
]


@pytest.mark.parametrize(
    ("bug", "check"), BUGS, ids=[f"{bug.__name__}-{check}" for bug, check in BUGS]
)
async def test_a_planted_bug_is_named_by_its_check(
    root: Path, bug: type[PosixBackend], check: str
) -> None:
    backend = bug(backend_config("buggy"), config.parse(f"posix://{root}", "buggy", {}))
    await backend.start()
    with pytest.raises(NotConformingError) as caught:
        await check_backend(backend, only={check})
    assert f"\n  {check}: " in str(caught.value)
    await backend.stop()
