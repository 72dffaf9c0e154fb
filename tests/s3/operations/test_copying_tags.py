"""Tags come along with a copy only for who may read them at its source, and set them at its target."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.posix import started
from tests.support.site import DENIED, Site, allow, at_site, deny, policy


@pytest.fixture
async def site(tmp_path: Path):
    """Over POSIX: for versions."""
    for name in ("node", "data"):
        (tmp_path / name).mkdir()
    async with started(tmp_path / "data") as backend, at_site(tmp_path / "node", backend) as made:
        yield made


async def tagged_copy(site: Site) -> dict[str, object]:
    """Bob's copy of k, which has tags, to a bucket of his."""
    await site.bob.create_bucket(Bucket="his")
    tags = {"TagSet": [{"Key": "a b", "Value": "+="}]}
    await site.alice.put_object_tagging(Bucket="hers", Key="k", Tagging=tags)
    return {"Bucket": "his", "Key": "copy", "CopySource": {"Bucket": "hers", "Key": "k"}}


async def test_tags_come_along_with_a_copy_for_who_may_read_them(site):
    copy = await tagged_copy(site)
    await site.set_policy(allow("s3:GetObject"))
    assert await site.bob.code("copy_object", **copy) == DENIED
    described = {"MetadataDirective": "REPLACE", "Metadata": {"a": "b"}}
    assert await site.bob.code("copy_object", **copy, **described) == DENIED
    assert await site.bob.code("head_object", Bucket="his", Key="copy") == "404"
    assert await site.bob.code("copy_object", **copy, TaggingDirective="REPLACE") == ""
    plain = {**copy, "CopySource": {"Bucket": "hers", "Key": "dir/k"}}
    assert await site.bob.code("copy_object", **plain) == ""
    await site.set_policy(allow(["s3:GetObject", "s3:GetObjectTagging"]))
    assert await site.bob.code("copy_object", **copy) == ""
    told = await site.bob.get_object_tagging(Bucket="his", Key="copy")
    assert told["TagSet"] == [{"Key": "a b", "Value": "+="}]
    await site.set_policy(allow("s3:Get*"), deny("s3:GetObjectTagging"))
    for who in (site.bob, site.admin):
        assert await who.code("copy_object", **copy) == DENIED


async def test_tags_of_a_version_come_along_for_who_may_read_those_of_versions(site):
    copy = await tagged_copy(site)
    await site.alice.put_bucket_versioning(
        Bucket="hers", VersioningConfiguration={"Status": "Enabled"}
    )
    put = await site.alice.put_object(Bucket="hers", Key="k", Body=b"new", Tagging="a=b")
    copy["CopySource"] = {"Bucket": "hers", "Key": "k", "VersionId": put["VersionId"]}
    await site.set_policy(allow(["s3:GetObjectVersion", "s3:GetObject", "s3:GetObjectTagging"]))
    assert await site.bob.code("copy_object", **copy) == DENIED
    await site.set_policy(allow(["s3:GetObjectVersion", "s3:GetObjectVersionTagging"]))
    assert await site.bob.code("copy_object", **copy) == ""


async def test_tags_that_come_along_with_a_copy_are_set_by_who_may_set_them(site):
    copy = await tagged_copy(site)
    await site.set_policy(allow(["s3:GetObject", "s3:GetObjectTagging"]))
    plain = {**copy, "CopySource": {"Bucket": "hers", "Key": "dir/k"}}

    async def his_policy(*statements: dict[str, object]) -> None:
        await site.bob.put_bucket_policy(Bucket="his", Policy=policy(*statements))

    def of_tag(value: str) -> dict[str, object]:
        return {"StringEquals": {"s3:RequestObjectTag/a b": value}}

    await his_policy(deny("s3:PutObjectTagging", "his/*"))
    assert await site.bob.code("copy_object", **copy) == DENIED
    assert await site.bob.code("copy_object", **plain) == ""
    await his_policy(deny("s3:PutObjectTagging", "his/*", Condition=of_tag("+=")))
    assert await site.bob.code("copy_object", **copy) == DENIED
    await his_policy(deny("s3:PutObjectTagging", "his/*", Condition=of_tag("other")))
    assert await site.bob.code("copy_object", **copy) == ""
    # Alice may write to his bucket, but not set tags there.
    await his_policy(allow("s3:PutObject", "his/*"))
    assert await site.alice.code("copy_object", **copy) == DENIED
    await his_policy(allow(["s3:PutObject", "s3:PutObjectTagging"], "his/*"))
    assert await site.alice.code("copy_object", **copy) == ""
