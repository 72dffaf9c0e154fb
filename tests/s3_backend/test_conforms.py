"""The S3 backend keeps the plugin contract over each real upstream, but for what that upstream is known not to do.

Each gap is checked to be one still. The checks of an upstream run side by side: they wait for it most of the time.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from appliance.model import errors
from appliance.model.objects import Conditions, PutOptions
from appliance.plugin import Backend, BytesBody
from appliance.plugin.check import CHECKS, Allowances
from tests.support.ceph import Ceph
from tests.support.s3_backends import conform, make_backend, started
from tests.support.upstreams import S3Upstream

# Ceph 16.2.
RADOSGW_GAPS = {
    "conditions.of_uploads_are_honoured": "CompleteMultipartUpload ignores conditions; refused as unsupported",
    "uploads.with_forged_ids_do_not_exist": "UploadPart tells no time, so a part's is ours until it is listed",
    "tags.come_with_an_upload": "CreateMultipartUpload ignores tags",
    "multipart.may_come_in_any_order": "CompleteMultipartUpload must name all parts",
    "multipart.are_refused_when_wrong": "a part that is too small is InvalidPart",
    "uploads.are_listed_by_key_and_time": "pages of uploads miss common prefixes",
    "history.are_covered_by_delete_markers": "a delete marker asked for by its id is a bare 404",
    "history.of_before_are_null": "the null version has no x-amz-version-id",
    "history.of_suspended_buckets_are_null": "the null version has no x-amz-version-id",
    "history.meet_conditions": "buckets with versions ignore conditions of writes; refused as unsupported",
}
# A race is not lost in the same way each time.
RADOSGW_SOMETIMES = {
    "concurrency.creators_have_one_winner": "500 for some of the PUTs that lose a race",
    "concurrency.replacers_have_one_winner": "500 for some of the PUTs that lose a race",
}
# rclone 1.75 keeps objects as files: many keys, system headers and metadata beyond 2 KiB it cannot hold, and its writes take 0.1 s. So here
# run some checks of what it is to be relied on for.
RCLONE_CHECKS = (
    "versions.can_be_asked_for_in_a_read",
    "ranges.tell_what_they_are",
    "conditions.of_puts_are_honoured",
    "failures.of_bodies_leave_the_old_object",
)
# Tagging changes Last-Modified on radosgw: the check fails whenever a second passes between, so it is neither kept nor a gap.
RADOSGW_LEFT_OUT = {"tags.come_and_go"}
# moto 5.2 is slow, and honours what radosgw does not: conditions of deletes and uploads. It keeps checksums, too.
MOTO_CHECKS = (
    "objects.keep_their_checksums",
    "objects.keep_headers_and_metadata",
    "versions.can_be_asked_for_in_a_read",
    "conditions.",
    "copies.take_everything_along",
    "tags.",
    "multipart.become_one_object",
    # Its listings of versions are not in S3's order, and it does not tell delete markers apart everywhere.
    "history.stay_when_overwritten",
    "history.go_one_by_one",
    "history.have_tags_of_their_own",
    "history.are_sources_of_copies",
    "history.meet_conditions",
    "acls.",
    "concurrency.replacers_have_one_winner",
)


@contextlib.asynccontextmanager
async def over(upstream: Ceph | S3Upstream, **options: bool) -> AsyncIterator[Backend]:
    """A backend that knows what its upstream can do, as after a first conditional write."""
    keys = (upstream.endpoint, upstream.access_key, upstream.secret_key)
    async with started(make_backend(*keys, **options)) as backend:
        with contextlib.suppress(errors.BucketExistsError):
            await backend.create_bucket("for-probes")
        with contextlib.suppress(errors.UnsupportedError, errors.PreconditionFailedError):
            absent = Conditions(if_none_match=("*",))
            await backend.put("for-probes", "a", BytesBody(b""), PutOptions(), absent)
        yield backend


@pytest.mark.real
async def test_over_radosgw(ceph: Ceph) -> None:
    async with over(ceph) as backend:
        allow = Allowances(
            gaps=RADOSGW_GAPS, sometimes=RADOSGW_SOMETIMES, part_sizes=False, many=60
        )
        checks = [(name, check) for name, check in CHECKS if name not in RADOSGW_LEFT_OUT]
        assert await conform(backend, allow, checks) == {}
        assert backend.capabilities.conditional_put
        assert backend.capabilities.tagging


@pytest.mark.real
async def test_over_rclone(rclone_s3: S3Upstream) -> None:
    async with over(rclone_s3) as backend:
        allow = Allowances(part_sizes=False)
        checks = [(name, check) for name, check in CHECKS if name in RCLONE_CHECKS]
        assert len(checks) == len(RCLONE_CHECKS)
        # Several at once take rclone longer, now and then minutes.
        assert await conform(backend, allow, checks, at_a_time=1) == {}
        assert not backend.capabilities.conditional_put


@pytest.mark.real
@pytest.mark.parametrize("fast_reads", [True, False])
async def test_over_moto(moto_s3: S3Upstream, fast_reads: bool) -> None:
    async with over(moto_s3, fast_reads=fast_reads) as backend:
        allow = Allowances(part_sizes=False, many=60)
        checks = [(name, check) for name, check in CHECKS if name.startswith(MOTO_CHECKS)]
        assert len(checks) >= len(MOTO_CHECKS)
        assert await conform(backend, allow, checks) == {}
        assert backend.capabilities.conditional_put
        assert backend.capabilities.conditional_delete
