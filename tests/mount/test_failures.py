"""A backend that fails, hangs or is full; what a real mount then answers."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from tests.support.mount_process import MountProcess

pytestmark = pytest.mark.real


@pytest.fixture
def failing(box):
    def fail(error):
        box.process.call("fail", error=error)

    yield fail
    fail("")
    box.process.call("let_go")


def errno_of(function, *arguments):
    with pytest.raises(OSError) as caught:
        function(*arguments)
    return caught.value.errno


@pytest.mark.parametrize(
    ("error", "number"),
    [
        ("BackendUnavailableError", errno.EIO),
        ("BackendTimeoutError", errno.EIO),
        ("BackendDeniedError", errno.EACCES),
        ("StorageFullError", errno.ENOSPC),
        ("ReadOnlyError", errno.EROFS),
    ],
)
def test_close_tells_what_became_of_the_upload(box, failing, error, number):
    file = (box / "a").open("wb", buffering=0)
    file.write(b"precious")
    failing(error)
    assert errno_of(file.close) == number
    failing("")
    assert box.listed() == []
    assert not (box / "a").exists()


def test_fsync_tells_and_a_later_one_succeeds(box, failing):
    with (box / "a").open("wb", buffering=0) as file:
        file.write(b"precious")
        failing("StorageFullError")
        assert errno_of(os.fsync, file.fileno()) == errno.ENOSPC
        failing("")
        os.fsync(file.fileno())
        assert box.get("a") == b"precious"


def test_a_failed_overwrite_leaves_the_old_version(box, failing):
    box.put("a", b"old")
    file = (box / "a").open("r+b", buffering=0)
    file.write(b"new")
    failing("BackendUnavailableError")
    assert errno_of(file.close) == errno.EIO
    failing("")
    assert box.get("a") == b"old"
    assert (box / "a").read_bytes() == b"old"


def test_reading_without_a_backend(box, failing):
    box.put("a", b"1" * 1000)
    (box / "a").stat()
    failing("BackendUnavailableError")
    assert errno_of((box / "unknown").stat) == errno.EIO
    failing("")
    assert (box / "a").read_bytes() == b"1" * 1000


def test_names_cannot_be_changed_without_a_backend(box, failing):
    box.put("a", b"1")
    (box / "a").stat()
    failing("BackendUnavailableError")
    assert errno_of(os.mkdir, box / "d") == errno.EIO
    assert errno_of(os.unlink, box / "a") == errno.EIO
    assert errno_of(os.rename, box / "a", box / "b") == errno.EIO
    failing("")
    assert (box / "a").read_bytes() == b"1"
    assert box.listed() == ["a"]


def test_one_request_that_hangs_holds_up_no_other(box, failing):
    box.put("warm", b"warm")
    assert (box / "warm").read_bytes() == b"warm"
    (box / "other").mkdir()
    (box / "other/warm").write_bytes(b"w")
    assert (box / "other/warm").read_bytes() == b"w"
    box.process.call("hold")
    results = []
    thread = threading.Thread(target=lambda: results.append((box / "slow").exists()))
    thread.start()
    assert (box / "other/warm").stat().st_size == 1
    assert (box / "other/warm").read_bytes() == b"w"
    box.process.call("let_go")
    thread.join()
    assert results == [False]


def test_a_bug_in_a_handler_is_an_error_and_not_the_end_of_the_mount(box, failing):
    # No such domain error: the injected fault itself fails, as a bug would.
    failing("NoSuchErrorAtAll")
    assert errno_of((box / "unknown").stat) == errno.EIO
    failing("")
    assert not (box / "unknown").exists()


def test_what_is_cached_is_read_while_the_backend_is_away(tmp_path):
    """Freshness 0, and nothing the kernel believes: each open asks, and nobody answers."""
    with MountProcess(tmp_path, freshness_s=0, mount={"grace_s": 0}) as process:
        process.put("d/e/cached", b"1" * 1000)
        path = process.path / "data/d/e/cached"
        process.get("d/e/cached")
        process.call("fail", error="BackendUnavailableError")
        assert path.read_bytes() == b"1" * 1000
        assert path.stat().st_size == 1000
        assert errno_of((process.path / "data/d/unknown").stat) == errno.EIO
        assert errno_of((process.path / "data/x").stat) == errno.EIO
        assert errno_of((process.path / "other").stat) == errno.EIO
        process.call("fail", error="")
        process.put("d/e/cached", b"new")
        assert path.read_bytes() == b"new"
        assert not (process.path / "data/d/unknown").exists()
