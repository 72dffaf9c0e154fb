"""What `stat` shows of an inode."""

from __future__ import annotations

import stat

import pyfuse3

from appliance.mount.inodes import Node
from appliance.mount.posix_metadata import PosixFacts
from appliance.mount.settings import MountSettings

# "Until told otherwise": the kernel counts in jiffies and clamps; a year is as good as infinity.
TIMEOUT_MAX_S = 365 * 86400.0
# st_blksize: what cp, tar and Python's shutil read and write at a time.
BLOCK_BYTES = 1 << 20


class Attributes:
    """Makes pyfuse3's attributes of nodes; owner and mode come from metadata, else from the settings."""

    def __init__(self, settings: MountSettings, uid: int, gid: int) -> None:
        self._uid = uid if settings.uid is None else settings.uid
        self._gid = gid if settings.gid is None else settings.gid
        write = ~0o222 if settings.read_only else ~0
        self._file_mode = stat.S_IFREG | (0o666 & ~settings.umask & write)
        self._dir_mode = stat.S_IFDIR | (0o777 & ~settings.umask & write)

    def defaults(self, *, is_dir: bool) -> PosixFacts:
        """What an object without metadata is shown as: need not be written into metadata."""
        mode = self._dir_mode if is_dir else self._file_mode
        return PosixFacts(stat.S_IMODE(mode), self._uid, self._gid)

    def minimal(self, facts: PosixFacts, *, is_dir: bool) -> PosixFacts:
        """`facts` less what everybody would assume anyway, so that plain files stay plain objects. The mtime always stays."""
        default = self.defaults(is_dir=is_dir)
        return PosixFacts(
            None if facts.mode == default.mode else facts.mode,
            None if facts.uid == default.uid else facts.uid,
            None if facts.gid == default.gid else facts.gid,
            facts.mtime_ns,
        )

    def of(
        self, node: Node, entry_timeout_s: float, attr_timeout_s: float
    ) -> pyfuse3.EntryAttributes:
        facts = node.facts if node.draft is None else node.draft.facts
        mode = self._dir_mode if node.is_dir else self._file_mode
        if facts.mode is not None:
            mode = stat.S_IFMT(mode) | facts.mode
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = node.ino
        entry.st_mode = mode
        # A directory of 1 link tells find(1) that link counts say nothing about subdirectories here.
        entry.st_nlink = 0 if node.unlinked else 1
        entry.st_uid = self._uid if facts.uid is None else facts.uid
        entry.st_gid = self._gid if facts.gid is None else facts.gid
        size = node.size
        entry.st_size = size
        entry.st_blocks = (size + 511) // 512
        entry.st_blksize = BLOCK_BYTES
        mtime_ns = mtime_of(node, facts)
        entry.st_mtime_ns = entry.st_atime_ns = mtime_ns
        entry.st_ctime_ns = mtime_ns
        entry.entry_timeout = min(entry_timeout_s, TIMEOUT_MAX_S)
        entry.attr_timeout = min(attr_timeout_s, TIMEOUT_MAX_S)
        return entry


def mtime_of(node: Node, facts: PosixFacts) -> int:
    """Modification time: of the draft, else the metadata's, else the backend's."""
    if node.draft is not None:
        return node.draft.mtime_ns
    if facts.mtime_ns is not None:
        return facts.mtime_ns
    if node.is_dir or node.info is None:
        return node.changed_ns
    return node.info.modified_ns
