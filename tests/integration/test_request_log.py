"""A real node whose log goes nowhere."""

from __future__ import annotations

import pytest

from tests.support.node import Node

pytestmark = pytest.mark.real


@pytest.fixture
def node(tmp_path):
    (tmp_path / "buckets").mkdir()
    launcher = ("sh", "-c", 'exec "$@" 2>/dev/full', "sh")
    options = ("--log-level", "debug")
    node = Node(
        tmp_path / "node", f"posix://{tmp_path}/buckets", launcher=launcher, options=options
    )
    yield node
    node.close()


def test_a_node_serves_and_ends_well_though_its_log_cannot_be_written(node):
    node.s3.create_bucket(Bucket="bucket")
    # More than wait for others: some are written, or not, while others come.
    for number in range(1100):
        node.s3.put_object(Bucket="bucket", Key="k", Body=f"{number}".encode())
    assert node.s3.get_object(Bucket="bucket", Key="k")["Body"].read() == b"1099"
    assert node.statistics()["s3"]["log_lines_dropped_total"] >= 1000
    assert node.stop() == 0
