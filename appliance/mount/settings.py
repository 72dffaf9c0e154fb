"""What an operator may choose about a mount."""

from __future__ import annotations

import msgspec


class MountSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`path`: an empty directory to mount on. `staging`: a directory on the cache disk, for files that are being written; never below
    `path`.

    `bucket`: mount this bucket at the root instead of every bucket as a directory. `uid`, `gid` (None: this process's) and `umask` make the
    owner and mode of whatever carries none in its metadata.

    `grace_s`: where a bucket's freshness is 0 ("ask at each use"), how long names that a listing or a lookup of a directory just told are
    believed all the same, so that `ls -l` is one listing and a path of five directories not five; what a listing told is believed longer
    while the directory is open (`inodes.LISTING_S`). It never applies to what `open` reads, nor to changes made through the appliance:
    those are exact.

    `read_ahead_kb` is set on the mount's backing device, which needs root; 0 leaves the kernel's default of 128.
    `tasks_max`: requests in progress at once. `shutdown_grace_s`: how long an unmount waits for uploads in progress.
    """

    path: str
    staging: str
    bucket: str = ""
    allow_other: bool = False
    read_only: bool = False
    uid: int | None = None
    gid: int | None = None
    umask: int = 0o022
    grace_s: float = 1.0
    read_ahead_kb: int = 4096
    tasks_max: int = 256
    shutdown_grace_s: float = 30.0
