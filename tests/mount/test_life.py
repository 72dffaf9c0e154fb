"""Mounting, unmounting, and what dead processes leave: real processes and real mounts."""

from __future__ import annotations

import base64
import errno
import os
import stat
import subprocess
import threading

import pytest

from appliance.mount.mountpoint import mounted_at
from tests.support.mount_process import REFUSED, MountProcess, RemoteError

pytestmark = pytest.mark.real


def refused(directory, **settings):
    """The sentence with which a mount is refused."""
    process = MountProcess(directory, data=str(directory / "data-of-refused"), **settings)
    process.launch()
    try:
        with pytest.raises(RemoteError) as caught:
            process._answer()
        assert process.wait() == REFUSED
        return str(caught.value)
    finally:
        process.end()


def test_sigterm_unmounts_with_files_open(tmp_path):
    with MountProcess(tmp_path) as process:
        process.put("a", b"x" * 100_000)
        reader = (process.path / "data/a").open("rb", buffering=0)
        reader.read(1)
        writer = (process.path / "data/b").open("wb", buffering=0)
        writer.write(b"not closed")
        assert process.terminate() == 0
        assert mounted_at(str(process.path)) is None
        assert os.listdir(process.path) == []
        with pytest.raises(OSError) as caught:
            os.pread(reader.fileno(), 10, 90_000)
        assert caught.value.errno in {errno.ENOTCONN, errno.ECONNABORTED}
        with pytest.raises(OSError):
            reader.close()
        with pytest.raises(OSError):
            writer.close()


def test_sigterm_lets_an_upload_in_progress_end(tmp_path):
    with MountProcess(tmp_path, backend="posix") as process:
        file = (process.path / "data/a").open("wb", buffering=0)
        file.write(b"acknowledged")
        process.call("hold")
        closed = []
        thread = threading.Thread(target=lambda: closed.append(file.close()))
        thread.start()
        process.call("waiting")
        assert process.terminate() == 0
        thread.join()
        assert closed == [None]
        assert (tmp_path / "data/buckets/data/a").read_bytes() == b"acknowledged"


def test_kill_9_then_restart(tmp_path):
    process = MountProcess(tmp_path)
    with process:
        process.put("a", b"1")
        assert (process.path / "data/a").read_bytes() == b"1"
        process.kill()
        process.start()
        assert sorted(os.listdir(process.path)) == ["data", "other"]
        assert process.terminate() == 0
    assert mounted_at(str(process.path)) is None


def test_unmounted_from_outside_ends_the_process(tmp_path):
    with MountProcess(tmp_path) as process:
        subprocess.run(["umount", str(process.path)], check=True)
        process.call("statistics")
        assert mounted_at(str(process.path)) is None


def test_a_mount_point_that_is_not_empty(tmp_path):
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount/precious").touch()
    assert "'precious' is in it" in refused(tmp_path)
    assert os.listdir(tmp_path / "mount") == ["precious"]


def test_a_mount_point_that_does_not_exist(tmp_path):
    missing = tmp_path / "missing"
    message = refused(tmp_path, mount={"path": str(missing)})
    assert message == f"The mount point {missing} does not exist: run `mkdir -p {missing}`."


def test_a_mount_point_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    assert "is not a directory" in refused(tmp_path, mount={"path": str(tmp_path / "file")})


def test_a_mount_point_in_use(tmp_path):
    with MountProcess(tmp_path) as process:
        assert "is a mount point already" in refused(tmp_path)
        assert sorted(os.listdir(process.path)) == ["data", "other"]


def test_staging_inside_the_mount(tmp_path):
    message = refused(tmp_path, mount={"staging": str(tmp_path / "mount/staging")})
    assert "is inside the mount point" in message


def test_one_bucket_at_the_root(tmp_path):
    with MountProcess(tmp_path, mount={"bucket": "data"}) as process:
        process.put("d/a", b"1")
        assert os.listdir(process.path) == ["d"]
        (process.path / "top").write_bytes(b"2")
        assert process.get("top") == b"2"
        os.rename(process.path / "top", process.path / "d/moved")
        assert sorted(os.listdir(process.path / "d")) == ["a", "moved"]


def test_read_only(tmp_path):
    with MountProcess(tmp_path, mount={"read_only": True}) as process:
        process.put("a", b"1")
        assert (process.path / "data/a").read_bytes() == b"1"
        for attempt in (
            lambda: (process.path / "data/b").write_bytes(b""),
            lambda: os.unlink(process.path / "data/a"),
            lambda: os.mkdir(process.path / "data/d"),
            lambda: os.truncate(process.path / "data/a", 0),
        ):
            with pytest.raises(OSError) as caught:
                attempt()
            assert caught.value.errno == errno.EROFS
        assert process.listed() == ["a"]


def test_read_ahead_is_set(tmp_path):
    with MountProcess(tmp_path) as process:
        device = mounted_at(str(process.path)).device
        with open(f"/sys/class/bdi/{device}/read_ahead_kb") as file:
            assert int(file.read()) == 4096


def test_a_bucket_that_others_write_to(tmp_path):
    """Freshness 0: what was changed behind the appliance's back is seen at the next open."""
    with MountProcess(tmp_path, freshness_s=0, mount={"grace_s": 0}) as process:

        def foreign(key, data):
            encoded = base64.b64encode(data).decode()
            process.call("foreign_put", bucket="data", key=key, data=encoded)

        path = process.path / "data/a"
        assert not path.exists()
        for data in (b"one", b"second", b"3"):
            foreign("a", data)
            assert path.stat().st_size == len(data)
            assert path.read_bytes() == data
        with path.open("rb", buffering=0) as file:
            foreign("a", b"other")
            assert path.read_bytes() == b"other"
            assert os.fstat(file.fileno()).st_size == 1


def test_open_is_exact_even_where_the_kernel_believes_a_name(tmp_path):
    """A listing's names are believed for `grace_s`; `open` finds the inode of an old version, says ESTALE, and the kernel looks again."""
    with MountProcess(tmp_path, freshness_s=0, mount={"grace_s": 300}) as process:
        process.put("a", b"old")
        directory = process.path / "data"
        assert [entry.stat().st_size for entry in os.scandir(directory)] == [3]
        encoded = base64.b64encode(b"brand new").decode()
        process.call("foreign_put", bucket="data", key="a", data=encoded)
        assert (directory / "a").read_bytes() == b"brand new"
        assert (directory / "a").stat().st_size == 9


def write_until_refused(descriptor):
    for _ in range(50):
        os.write(descriptor, b"x" * 100_000)


@pytest.fixture
def small(tmp_path):
    """A mount whose staging disk is full after less than 1 MiB."""
    staging = tmp_path / "staging"
    staging.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(staging)], check=True)
    try:
        with MountProcess(tmp_path) as process:
            yield process
            assert process.terminate() == 0
    finally:
        subprocess.run(["umount", "-l", str(staging)], check=True)


def errno_of(function, *arguments):
    with pytest.raises(OSError) as caught:
        function(*arguments)
    return caught.value.errno


@pytest.mark.parametrize("name", ["a", "new"])
@pytest.mark.parametrize("flags", [0, os.O_TRUNC])
def test_a_full_staging_disk(small, name, flags):
    small.put("a", b"old")
    path = small.path / "data" / name
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flags)
    os.write(descriptor, b"x" * 100_000)
    assert errno_of(write_until_refused, descriptor) == errno.ENOSPC
    assert errno_of(os.fsync, descriptor) == errno.ENOSPC
    assert errno_of(os.close, descriptor) == errno.ENOSPC
    assert small.listed() == ["a"]
    assert small.get("a") == b"old"
    assert (small.path / "data/a").read_bytes() == b"old"
    assert os.listdir(small.path / "data") == ["a"]
    assert (small.path / "data/new").exists() is False


def test_a_staging_disk_too_small_for_the_base(small):
    small.put("a", b"x" * 2_000_000)
    descriptor = os.open(small.path / "data/a", os.O_WRONLY)
    assert errno_of(os.pwrite, descriptor, b"1", 0) == errno.ENOSPC
    os.truncate(small.path / "data/a", 10)
    assert errno_of(os.pwrite, descriptor, b"2", 1) == errno.ENOSPC
    assert errno_of(os.close, descriptor) == errno.ENOSPC
    assert small.get("a") == b"x" * 10


def test_starting_over_after_a_full_staging_disk(small):
    with (small.path / "data/a").open("wb", buffering=0) as file:
        assert errno_of(write_until_refused, file.fileno()) == errno.ENOSPC
        os.ftruncate(file.fileno(), 0)
        os.pwrite(file.fileno(), b"less", 0)
    assert small.get("a") == b"less"


def test_what_listings_do_not_tell_is_asked_for(tmp_path):
    with MountProcess(tmp_path, backend="bare", mount={"grace_s": 0}) as process:
        process.call(
            "foreign_put_metadata",
            key="a",
            metadata={"mode": "0100600", "mtime": "1500000000", "colour": "red"},
        )
        assert [entry.name for entry in os.scandir(process.path / "data")] == ["a"]
        path = process.path / "data/a"
        facts = path.stat()
        assert (stat.S_IMODE(facts.st_mode), facts.st_mtime) == (0o600, 1.5e9)
        os.scandir(process.path / "data").close()
        path.chmod(0o640)
        assert process.head("a")["metadata"] == {
            "mode": "0100640",
            "mtime": "1500000000",
            "colour": "red",
        }
