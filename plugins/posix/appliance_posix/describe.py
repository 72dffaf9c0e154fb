"""What a listing says about each object: a stat and an xattr a name, without opening files."""

from __future__ import annotations

import os
import stat as stat_module
from types import TracebackType

from appliance.model.objects import ObjectInfo
from appliance_posix.beneath import DIRECTORY
from appliance_posix.bucket import Bucket
from appliance_posix.keypath import locate
from appliance_posix.metadata import SIDECAR, load_inline
from appliance_posix.objects import ABSENT, find
from appliance_posix.record import info_of


class Describer:
    """Keeps the directory of the last object open, for its neighbours. A context manager."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._directory = b""
        self._fd = -1

    def __enter__(self) -> Describer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def describe(self, key: str, path: bytes) -> ObjectInfo | None:
        """The object whose file was seen at `path`; None if it is gone."""
        directory, _, name = path.rpartition(b"/")
        try:
            fd = self._open(directory)
            stat = os.stat(name, dir_fd=fd, follow_symlinks=False)
            # A path through /proc names the file in the directory that we hold, wherever that was moved meanwhile.
            record = load_inline(b"/proc/self/fd/%d/%s" % (fd, name))
        except OSError as error:
            if error.errno in ABSENT:
                return self._look_again(key)
            raise
        window_ns = self._bucket.volume.features.ctime_window_ns
        if record is not None and record.fingerprint.matches(stat, window_ns):
            version_id = self._bucket.version_id(stat, record)
            return info_of(key, stat, record, window_ns, version_id=version_id)
        # Changed by hand, replaced between the two calls, or described in a sidecar: the exact way knows.
        if record is not None or self._bucket.private_if_any(SIDECAR) is not None:
            return self._look_again(key)
        if not stat_module.S_ISREG(stat.st_mode):
            return None
        return info_of(key, stat, None, version_id=self._bucket.version_id(stat, None))

    def _look_again(self, key: str) -> ObjectInfo | None:
        found = find(self._bucket, key, locate(key), partly=True)
        if found is None:
            return None
        with found:
            return found.info

    def _open(self, directory: bytes) -> int:
        if self._fd < 0 or directory != self._directory:
            self._close()
            self._fd = self._bucket.open(directory, DIRECTORY)
            self._directory = directory
        return self._fd

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
