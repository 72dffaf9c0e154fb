"""s3cmd, as Debian has it. Its presigned URLs carry Signature Version 2."""

from __future__ import annotations

import pytest

from tests.support.clients import MIB, fetch, noise, run

pytestmark = pytest.mark.real


@pytest.fixture
def s3cmd(near, tmp_path):
    (tmp_path / "s3cfg").write_text("")
    address = f"127.0.0.1:{near.port}"
    always = ("--config", "s3cfg", "--no-ssl", "--no-progress", "--host", address)
    # Without a place for the bucket's name in the host it goes into the path.
    always += ("--host-bucket", address, "--region", "us-east-1")

    def command(*arguments: str) -> str:
        return run("s3cmd", *always, *arguments, cwd=tmp_path)

    return command


def test_s3cmd_makes_its_round_trip(s3cmd, tmp_path):
    big = noise(11 * MIB)
    tree = tmp_path / "tree"
    (tree / "dir").mkdir(parents=True)
    (tree / "dir" / "big").write_bytes(big)
    (tree / "dir" / "ünï code + &.txt").write_bytes(b"text")
    (tree / "empty").write_bytes(b"")
    s3cmd("mb", "s3://s3cmd")
    s3cmd("sync", "--multipart-chunk-size-mb=5", "tree/", "s3://s3cmd/tree/")
    listed = s3cmd("ls", "--recursive", "s3://s3cmd").splitlines()
    assert [line.split(maxsplit=3)[2:] for line in listed] == [
        [str(len(big)), "s3://s3cmd/tree/dir/big"],
        ["4", "s3://s3cmd/tree/dir/ünï code + &.txt"],
        ["0", "s3://s3cmd/tree/empty"],
    ]
    assert s3cmd("du", "s3://s3cmd").split()[0] == str(len(big) + 4)
    s3cmd("sync", "s3://s3cmd/tree/", "back/")
    for path in tree.rglob("*"):
        assert path.is_dir() or (tmp_path / "back" / path.relative_to(tree)).read_bytes() == (
            path.read_bytes()
        )
    # What is half there is continued by a range.
    (tmp_path / "half").write_bytes(big[: 6 * MIB])
    s3cmd("get", "--continue", "s3://s3cmd/tree/dir/big", "half")
    assert (tmp_path / "half").read_bytes() == big
    s3cmd("cp", "s3://s3cmd/tree/dir/big", "s3://s3cmd/copy")
    s3cmd("mv", "s3://s3cmd/copy", "s3://s3cmd/moved")
    s3cmd("get", "s3://s3cmd/moved", "moved")
    assert (tmp_path / "moved").read_bytes() == big
    assert fetch(s3cmd("signurl", "s3://s3cmd/moved", "+60").strip()) == (200, big)
    s3cmd("del", "--recursive", "--force", "s3://s3cmd")
    s3cmd("rb", "s3://s3cmd")
    assert "s3://s3cmd" not in s3cmd("ls")
