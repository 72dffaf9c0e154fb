"""What S3 clients put while the mount is in the middle of something: nothing that was acknowledged is lost. Real mounts."""

from __future__ import annotations

import base64
import errno
import os
import threading

import pytest

from tests.support.mount_process import MountProcess

pytestmark = pytest.mark.real


def while_held(box, operation, action, name, data):
    """Run `action` until the backend is asked for `operation`; put `name` meanwhile. What `action` raised."""
    process = box.process
    raised = []

    def run():
        try:
            action()
        except OSError as error:
            raised.append(error.errno)

    process.call("hold", only=[operation])
    thread = threading.Thread(target=run)
    thread.start()
    process.call("waiting")
    encoded = base64.b64encode(data).decode()
    process.call("put_unsettled", bucket="data", key=box.prefix + name, data=encoded)
    process.call("let_go")
    thread.join()
    return raised


@pytest.mark.parametrize("operation", ["copy", "delete"])
def test_rename_loses_no_put(box, operation):
    box.put("a", b"old")
    (box / "a").stat()
    rename = lambda: os.rename(box / "a", box / "b")  # noqa: E731  # reads better here
    assert while_held(box, operation, rename, "a", b"the newest") == []
    assert box.listed() == ["b"]
    assert box.get("b") == b"the newest"
    assert (box / "b").read_bytes() == b"the newest"
    assert not (box / "a").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.chmod(0o600),
        lambda path: os.utime(path, (1, 1)),
        lambda path: os.setxattr(path, "user.x", b"1"),
    ],
)
def test_new_metadata_never_bring_old_bytes_back(box, change):
    box.put("a", b"old")
    (box / "a").stat()
    assert while_held(box, "copy", lambda: change(box / "a"), "a", b"the newest") == []
    assert box.get("a") == b"the newest"
    assert (box / "a").read_bytes() == b"the newest"


def test_metadata_of_an_old_version_are_nobodys(box):
    box.put("a", b"old", metadata={"m": "1"})
    fd = os.open(box / "a", os.O_RDONLY)
    try:
        box.put("a", b"newer", metadata={"m": "2"})
        for change in (lambda: os.fchmod(fd, 0o600), lambda: os.utime(fd, (1, 1))):
            with pytest.raises(OSError) as caught:
                change()
            assert caught.value.errno == errno.ESTALE
    finally:
        os.close(fd)
    assert box.head("a")["metadata"] == {"m": "2"}
    assert box.get("a") == b"newer"


def test_other_metadata_of_the_same_bytes_are_kept(box):
    box.put("a", b"same", metadata={"m": "1"})
    (box / "a").stat()
    box.put("a", b"same", metadata={"m": "2"})
    (box / "a").chmod(0o600)
    assert box.head("a")["metadata"]["m"] == "2"


def test_an_acknowledged_put_is_seen_whatever_the_kernel_believed(box):
    """Again and again in directories that come and go: the kernel knows before the answer is sent."""
    for number in range(30):
        name = f"d{number % 2}/e/k"
        path = box / name
        assert not path.exists()
        assert not (box / f"d{number % 2}").exists()
        encoded = base64.b64encode(str(number).encode()).decode()
        box.process.call("put_acknowledged", bucket="data", key=box.prefix + name, data=encoded)
        assert path.read_text() == str(number)
        box.delete(name)


@pytest.mark.parametrize("backend", ["memory", "posix"])
@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_an_open_that_is_always_overtaken_gets_what_it_looked_up(tmp_path, backend, mode):
    with MountProcess(tmp_path, backend=backend) as process:
        process.put("a", b"first")
        path = process.path / "data/a"
        path.stat()
        process.call("overtake_opens", key="a")
        for number in (1, 3, 5):
            with path.open(mode, buffering=0) as file:
                # The version that the first try found on the way, whole; the second try's came too late.
                expected = b"v" + str(number).encode() * number
                assert os.fstat(file.fileno()).st_size == len(expected)
                assert file.read() == expected
        assert process.get("a") == b"v666666"
        statistics = process.call("statistics")
        assert statistics["retried_opens_total"] == 3
        assert statistics["kept_versions"] == 0


def test_overwriting_what_is_always_overtaken(tmp_path):
    with MountProcess(tmp_path) as process:
        process.put("a", b"first")
        path = process.path / "data/a"
        path.stat()
        process.call("overtake_opens", key="a")
        path.write_bytes(b"mine")
        assert process.get("a") == b"mine"
