"""Inodes: what the kernel knows by number, and which name each number stands for.

A file's inode stands for one version. A version that arrives from elsewhere (S3, another node, behind the appliance's back) gets a new
inode, so that the kernel never mixes pages of two versions; the old inode is *superseded*: whoever has it open reads on, nobody finds it
by name. Versions written through this mount keep their inode: the kernel's pages hold what was written. Hence an inode's attributes
change only through this mount, and the kernel may believe them for as long as it likes; what expires is the name.

An inode lives while the kernel counts lookups on it or a handle has it open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from appliance.model.objects import ObjectInfo
from appliance.mount import posix_metadata
from appliance.mount.names import split

if TYPE_CHECKING:
    from appliance.mount.staging import Draft

ROOT = 1
# How long what a directory's listing told is believed while somebody has the directory open: `ls -l` of a large one may take long.
LISTING_S = 60.0


class Node:
    """One inode. `bucket` is "" only for the root of a mount of all buckets; `key` is "" for the root of a bucket.

    `info` is the version it stands for; None for directories without marker and for files never published. `complete`: `info` has the
    metadata (listings may lack it). `draft`: the private copy of whoever writes, shared by all local handles.
    `believed_until`, `not_directory_until`: boot seconds until which the name, and the absence of a directory of the same name, need not
    be asked for again. `kept_until`: as `believed_until`, for a directory in which something was removed through this mount: `rm -r`
    wants to remove it last, though nothing in the backend may say any more that it is there.
    `listed_at`: boot seconds when a listing told of it last. `listings`: for a directory, how often it is open for listing.
    `shown`: for a directory, that the kernel asked for a name in it since it knows this inode, so that it may believe something there.
    """

    __slots__ = (
        "believed_until",
        "bucket",
        "changed_ns",
        "complete",
        "draft",
        "facts",
        "info",
        "ino",
        "is_dir",
        "kept_until",
        "key",
        "listed_at",
        "listings",
        "lookups",
        "named",
        "not_directory_until",
        "opened",
        "shown",
        "unlinked",
        "writers",
    )

    def __init__(self, ino: int, bucket: str, key: str, *, is_dir: bool) -> None:
        self.ino = ino
        self.bucket = bucket
        self.key = key
        self.is_dir = is_dir
        self.info: ObjectInfo | None = None
        self.facts = posix_metadata.SILENT
        self.complete = False
        self.draft: Draft | None = None
        self.lookups = 0
        self.opened = 0
        self.writers = 0
        self.named = True
        self.unlinked = False
        self.shown = False
        self.listings = 0
        self.listed_at = -LISTING_S
        self.kept_until = 0.0
        self.believed_until = 0.0
        self.not_directory_until = 0.0
        self.changed_ns = 0

    @property
    def size(self) -> int:
        if self.draft is not None:
            return self.draft.size
        return 0 if self.info is None or self.is_dir else self.info.size

    @property
    def metadata(self) -> dict[str, str]:
        if self.draft is not None:
            return self.draft.metadata
        return {} if self.info is None else self.info.metadata

    def learn(self, info: ObjectInfo, *, complete: bool) -> None:
        """Take what is known of the version this inode stands for; a listing never replaces what `head` told of the same version."""
        if self.complete and not complete and self.info and self.info.version == info.version:
            return
        self.info = info
        self.facts = posix_metadata.parse(info.metadata)
        self.complete = complete or bool(info.metadata)


class Inodes:
    """The table. Not a cache: it forgets exactly what the kernel forgets."""

    def __init__(self, bucket: str = "", now_ns: int = 0) -> None:
        self._born_ns = now_ns
        self._next = ROOT + 1
        self.root = Node(ROOT, bucket, "", is_dir=True)
        self.root.changed_ns = now_ns
        self._by_ino = {ROOT: self.root}
        # A directory's key ends in "/" or is "", a file's does not: one table holds both.
        self._by_name: dict[tuple[str, str], Node] = {(bucket, ""): self.root}
        self.pending: dict[int, Node] = {}

    # --- finding -----------------------------------------------------------------

    def get(self, ino: int) -> Node | None:
        return self._by_ino.get(ino)

    def find(self, bucket: str, key: str) -> Node | None:
        """The inode that `key` names now."""
        return self._by_name.get((bucket, key))

    def parent(self, node: Node) -> Node | None:
        """The directory that holds `node`, if it is known."""
        if node is self.root:
            return None
        if node.key == "":
            return self.root
        return self.find(node.bucket, split(node.key)[0])

    def in_listing(self, node: Node, now_s: float) -> bool:
        """True while whoever was told of `node` by a listing is still at it."""
        parent = self.parent(node)
        return parent is not None and parent.listings > 0 and now_s - node.listed_at < LISTING_S

    def pending_in(self, bucket: str, directory: str) -> Iterator[Node]:
        """Files created here, in this directory, that nobody else can see yet."""
        for node in self.pending.values():
            if node.bucket == bucket and split(node.key)[0] == directory:
                yield node

    # --- learning ----------------------------------------------------------------

    def directory(self, bucket: str, key: str) -> Node:
        """The inode of a directory that exists. Directories keep theirs while the kernel knows them."""
        node = self.find(bucket, key)
        if node is None:
            node = self._add(bucket, key, is_dir=True)
            node.changed_ns = self._born_ns
        return node

    def file(self, bucket: str, key: str, info: ObjectInfo, *, complete: bool) -> Node:
        """The inode for the version `info`, which is the newest known: the same one if it is the same version."""
        node = self.find(bucket, key)
        if node is not None and (node.draft is not None or node.info is None):
            return node
        if node is not None and node.info is not None and node.info.version != info.version:
            self.supersede(node)
            node = None
        if node is None:
            node = self._add(bucket, key, is_dir=False)
        node.learn(info, complete=complete)
        return node

    def create(self, bucket: str, key: str) -> Node:
        """The inode of a file made here, pending until it is published."""
        old = self.find(bucket, key)
        if old is not None:
            self.supersede(old)
        node = self._add(bucket, key, is_dir=False)
        node.complete = True
        self.pending[node.ino] = node
        return node

    def published(self, node: Node, info: ObjectInfo) -> None:
        """What was written through `node` is now the newest version of its name; the inode stays."""
        self.pending.pop(node.ino, None)
        node.learn(info, complete=True)
        if not node.named and not node.unlinked:
            self._name(node, node.bucket, node.key)

    def _add(self, bucket: str, key: str, *, is_dir: bool) -> Node:
        node = Node(self._next, bucket, key, is_dir=is_dir)
        self._next += 1
        self._by_ino[node.ino] = node
        self._by_name[bucket, key] = node
        return node

    def _name(self, node: Node, bucket: str, key: str) -> None:
        other = self.find(bucket, key)
        if other is not None and other is not node:
            self.supersede(other)
        node.bucket, node.key, node.named = bucket, key, True
        self._by_name[bucket, key] = node

    # --- losing names ------------------------------------------------------------

    def supersede(self, node: Node) -> None:
        """`node` is not what its name stands for any more."""
        if node is self.root:
            return
        if self._by_name.get((node.bucket, node.key)) is node:
            del self._by_name[node.bucket, node.key]
        node.named = False
        self.pending.pop(node.ino, None)
        self.drop_if_unused(node)

    def unlink(self, node: Node) -> None:
        """The name was removed through this mount: what is written to open handles goes nowhere."""
        node.unlinked = True
        self.supersede(node)

    def rename(self, node: Node, bucket: str, key: str) -> None:
        """`node` has the name `key` from now on; what had it before is unlinked."""
        replaced = self.find(bucket, key)
        if replaced is not None and replaced is not node:
            self.unlink(replaced)
        if self._by_name.get((node.bucket, node.key)) is node:
            del self._by_name[node.bucket, node.key]
        self._name(node, bucket, key)

    def forget(self, counts: Iterable[Sequence[int]]) -> None:
        """The kernel takes back lookups: (inode, count) each."""
        for ino, count in counts:
            node = self._by_ino.get(ino)
            if node is not None and node is not self.root:
                node.lookups -= count
                self.drop_if_unused(node)

    def drop_if_unused(self, node: Node) -> None:
        if node.lookups > 0 or node.opened > 0 or node is self.root or node.ino in self.pending:
            return
        self._by_ino.pop(node.ino, None)
        if self._by_name.get((node.bucket, node.key)) is node:
            del self._by_name[node.bucket, node.key]

    def __iter__(self) -> Iterator[Node]:
        return iter(tuple(self._by_ino.values()))

    def statistics(self) -> dict[str, float]:
        return {
            "inodes": len(self._by_ino),
            "names": len(self._by_name),
            "pending_files": len(self.pending),
        }
