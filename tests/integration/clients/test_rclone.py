"""rclone, `rclone check` included: it compares sizes and MD5 sums of everything."""

from __future__ import annotations

import pytest

from tests.support.clients import BIN, MIB, fetch, noise, run
from tests.support.node import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.real


@pytest.fixture
def rclone(near, tmp_path):
    remote = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_NODE_TYPE": "s3",
        "RCLONE_CONFIG_NODE_PROVIDER": "Other",
        "RCLONE_CONFIG_NODE_ENDPOINT": near.endpoint,
        "RCLONE_CONFIG_NODE_ACCESS_KEY_ID": ACCESS_KEY,
        "RCLONE_CONFIG_NODE_SECRET_ACCESS_KEY": SECRET_KEY,
        "RCLONE_CONFIG_NODE_REGION": "us-east-1",
        "RCLONE_S3_UPLOAD_CUTOFF": "8M",
        "RCLONE_S3_COPY_CUTOFF": "8M",
    }

    def command(*arguments: str) -> str:
        return run(str(BIN / "rclone"), *arguments, cwd=tmp_path, **remote)

    return command


def test_rclone_makes_its_round_trip(near, rclone, tmp_path):
    tree = tmp_path / "tree"
    for number in range(20):
        (tree / f"d{number % 3}").mkdir(parents=True, exist_ok=True)
        (tree / f"d{number % 3}" / f"f{number}").write_bytes(noise(number * 1000, number))
    big = noise(12 * MIB)
    (tree / "big").write_bytes(big)
    (tree / "text").write_text("0123456789")
    rclone("mkdir", "node:rclone")
    rclone("copy", "tree", "node:rclone/tree")
    rclone("check", "tree", "node:rclone/tree")
    listed = rclone("lsf", "-R", "--files-only", "node:rclone/tree").splitlines()
    assert sorted(listed) == sorted(
        str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()
    )
    assert rclone("cat", "node:rclone/tree/text", "--offset", "5", "--count", "3") == "567"
    rclone("copyto", "node:rclone/tree/big", "node:rclone/copy")
    assert near.get("rclone", "copy") == big
    rclone("copy", "node:rclone/tree", "back")
    rclone("check", "tree", "back", "--download")
    url = rclone("link", "node:rclone/copy", "--expire", "1m").strip()
    assert fetch(url) == (200, big)
    rclone("deletefile", "node:rclone/copy")
    rclone("purge", "node:rclone")
    assert "rclone" not in rclone("lsd", "node:")
