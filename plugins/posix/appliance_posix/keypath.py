"""Where an object lies: key <-> path below the bucket's directory. Pure, and a bijection (property-tested).

A key's segments, split at "/", are file names as they stand, so that the storage stays plain. A segment that cannot be one is *escaped*,
by names under the reserved prefix `.appliance`:

    .appliance-dir=<segment>       a directory whose segment is empty, `.`, `..`, begins with `.appliance` or is special to a filesystem
    .appliance-object=<segment>    the same for the last segment, and for an object `a` where the directory `a/` is in its way
    .appliance-more=<piece>        a directory that holds the beginning of a segment that is too long for one name

An object has a plain place (unless its last segment needs the escape) and always an escaped one. Readers look at the plain place first;
an object moves from plain to escaped when its name is needed for a directory, and never back, so a reader never misses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from appliance.model.names import key_bytes

RESERVED = b".appliance"
DIR = b".appliance-dir="
OBJECT = b".appliance-object="
MORE = b".appliance-more="
NAME_MAX = 255  # bytes; ext4, XFS, btrfs, tmpfs, CephFS and NFS agree
# Bytes of a segment that share one escaped name: leaves room for the longest tag.
PIECE_MAX = 200

# Names that are doors to somewhere else on some filesystem: snapshots (CephFS, NFS filers, ZFS), internals (Lustre, Gluster), and what an
# NFS client calls files that were removed while open. Escaped everywhere, so that a tree may be moved from one filesystem to another.
_SPECIAL = rb"\.snap|\.snapshot|\.zfs|\.lustre|\.glusterfs|\.nfs[0-9a-f]{16,}"
# Any segment that cannot be a name as it stands, lengths aside.
_AWKWARD = re.compile(rb"(?:\A|/)(?:/|\Z|\.\.?(?:/|\Z)|\.appliance|(?:" + _SPECIAL + rb")(?:/|\Z))")
_IS_SPECIAL = re.compile(rb"(?:" + _SPECIAL + rb")\Z")


class Place(NamedTuple):
    """A name in a directory; `directory` is relative to the bucket, b"" for the bucket itself."""

    directory: bytes
    name: bytes

    @property
    def path(self) -> bytes:
        return self.directory + b"/" + self.name if self.directory else self.name


class Location(NamedTuple):
    """Where a key's object may be: look at `plain` first (None: never there), then at `escaped`."""

    plain: Place | None
    escaped: Place

    def places(self) -> Iterator[Place]:
        """In the order readers look."""
        if self.plain is not None:
            yield self.plain
        yield self.escaped


def locate(key: str) -> Location:
    """Both places of a valid key."""
    head, slash, last = key_bytes(key).rpartition(b"/")
    directory = directory_path(head) if slash else b""
    plain = Place(directory, last) if _is_plain(last) else None
    return Location(plain, _escaped_object(directory, last))


def plain_path(key: str) -> bytes | None:
    """The key's plain path if it is just its bytes, as nearly all are; else None: then `locate`. For the fast path."""
    raw = key_bytes(key)
    return raw if len(raw) <= NAME_MAX and not _AWKWARD.search(raw) else None


def directory_path(prefix: bytes) -> bytes:
    """The directory of the keys that begin with `prefix` + "/"."""
    if len(prefix) <= NAME_MAX and not _AWKWARD.search(prefix):
        return prefix
    return b"/".join(name for segment in prefix.split(b"/") for name in _directory_names(segment))


def ancestors(key: str) -> list[str]:
    """Keys of the objects whose plain place is a directory on the way to `key`, outermost first."""
    segments = key.split("/")
    joined = ["/".join(segments[:end]) for end in range(1, len(segments))]
    return [
        ancestor
        for ancestor, segment in zip(joined, segments, strict=False)
        if _is_plain(key_bytes(segment))
    ]


def is_special(name: bytes) -> bool:
    """Whether the plain name belongs to a filesystem rather than to a user."""
    return name[:1] == b"." and _IS_SPECIAL.match(name) is not None


class Piece(NamedTuple):
    """What a file name stands for: a whole segment, or (`more`) the beginning of one."""

    segment: bytes
    more: bool


def decode_name(name: bytes, *, is_dir: bool) -> Piece | None:
    """What a name below a bucket means; None for the appliance's own files and for names that no key leads to."""
    if not name.startswith(RESERVED):
        return None if is_special(name) else Piece(name, more=False)
    if is_dir and name.startswith(MORE):
        return Piece(name[len(MORE) :], more=True)
    tag = DIR if is_dir else OBJECT
    return Piece(name[len(tag) :], more=False) if name.startswith(tag) else None


def is_canonical(segment: bytes, names: tuple[bytes, ...], *, is_dir: bool) -> bool:
    """Whether `names`, which decode to `segment`, are where this module would look for it (foreign files may imitate escapes)."""
    if is_dir:
        return names == tuple(_directory_names(segment))
    if names == (segment,):
        return _is_plain(segment)
    return b"/".join(names) == _escaped_object(b"", segment).path


def _is_plain(segment: bytes) -> bool:
    return 0 < len(segment) <= NAME_MAX and not _AWKWARD.match(segment)


def _pieces(segment: bytes) -> list[bytes]:
    """`segment` cut into names' worth, at the borders of UTF-8 characters (some filesystems refuse names that are not UTF-8)."""
    pieces = []
    while len(segment) > PIECE_MAX:
        cut = PIECE_MAX
        while cut > PIECE_MAX - 3 and segment[cut] & 0xC0 == 0x80:
            cut -= 1
        pieces.append(segment[:cut])
        segment = segment[cut:]
    return [*pieces, segment]


def _directory_names(segment: bytes) -> list[bytes]:
    if _is_plain(segment):
        return [segment]
    *more, last = _pieces(segment)
    return [*(MORE + piece for piece in more), DIR + last]


def _escaped_object(directory: bytes, segment: bytes) -> Place:
    *more, last = _pieces(segment)
    outer = [directory] if directory else []
    return Place(b"/".join([*outer, *(MORE + piece for piece in more)]), OBJECT + last)
