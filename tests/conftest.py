"""Fixtures that every layer's tests may use: real servers, started when the first test asks for one, once per test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.ceph import Ceph, ceph_cluster
from tests.support.no_skips import pytest_runtest_makereport  # noqa: F401  # a hook
from tests.support.upstreams import S3Upstream, moto_server, rclone_server

# The same examples every time, and no time limits: a slow machine is no failure.
settings.register_profile("suite", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """A Ceph: radosgw at `endpoint` with `access_key` and `secret_key`, CephFS mounted at `cephfs`. Use names of your own in both."""
    with ceph_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def rclone_s3() -> Iterator[S3Upstream]:
    """`rclone serve s3` over a temporary directory."""
    with rclone_server() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def moto_s3() -> Iterator[S3Upstream]:
    """moto's S3."""
    with moto_server() as upstream:
        yield upstream
