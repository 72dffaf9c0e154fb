"""ListObjects over a directory tree, in S3's order, page by page.

A directory `d` stands for all keys that begin with `d/`, so entries sorted with "/" after the directories' names give bytewise order over
full keys, depth first. A page starts by walking straight to where the last one ended: directories that lie before are never opened, the
one in which it ended is read (or remembered, `snapshot`) and searched by bisection.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from typing import NamedTuple

from appliance.model.errors import AccessDeniedError, InvalidArgumentError
from appliance.model.names import KEY_BYTES_MAX, key_bytes, key_text
from appliance.model.objects import ListPage, ListRequest, ObjectInfo
from appliance_posix.beneath import DIRECTORY, Anchors
from appliance_posix.bucket import Bucket
from appliance_posix.describe import Describer
from appliance_posix.keypath import directory_path
from appliance_posix.objects import ABSENT
from appliance_posix.permission import check_list
from appliance_posix.snapshot import Entry, Snapshot, Snapshots, first_at_least


class Item(NamedTuple):
    """A key with the path of its file; or, with path None, a common prefix."""

    name: bytes
    path: bytes | None


class _Inner(NamedTuple):
    """A directory to go into: its path, and what its keys begin with."""

    path: bytes
    base: bytes


class Bound(NamedTuple):
    """Where to go on: after `name`; with `whole`, after every key that begins with it too."""

    name: bytes
    whole: bool

    def passes(self, key: bytes) -> bool:
        return key > self.name and not (self.whole and key.startswith(self.name))

    def passes_some_of(self, prefix: bytes) -> bool:
        """Whether any key that begins with `prefix` could pass."""
        if self.whole and prefix.startswith(self.name):
            return False
        return prefix > self.name or self.name.startswith(prefix)


START = Bound(b"", whole=False)


def list_page(bucket: Bucket, snapshots: Snapshots, request: ListRequest) -> ListPage:
    """One page. Raises InvalidArgumentError for a token that is none of ours, OSError."""
    bound = _bound(request)
    if request.limit <= 0:
        return ListPage()
    prefix, delimiter = key_bytes(request.prefix), key_bytes(request.delimiter)
    objects: list[ObjectInfo] = []
    prefixes: list[str] = []
    last: Item | None = None
    more = False
    with Describer(bucket) as describer:
        for item in items(bucket, snapshots, prefix, delimiter, bound):
            info = None
            if item.path is not None:
                info = describer.describe(key_text(item.name), item.path)
                if info is None:  # deleted since the directory was read
                    continue
            if len(objects) + len(prefixes) == request.limit:
                more = True
                break
            last = item
            if info is None:
                prefixes.append(key_text(item.name))
            else:
                objects.append(info)
    return ListPage(
        objects=tuple(objects),
        common_prefixes=tuple(prefixes),
        continuation=_token(last) if more and last else "",
        last=key_text(last.name) if last else "",
    )


def items(
    bucket: Bucket, snapshots: Snapshots, prefix: bytes, delimiter: bytes, bound: Bound
) -> Iterator[Item]:
    """Keys and common prefixes after `bound`, in order."""
    with Walk(bucket, snapshots, prefix, fold=delimiter == b"/") as walk:
        yield from grouped(walk, prefix, delimiter, bound)


def grouped(walk: Walk, prefix: bytes, delimiter: bytes, bound: Bound) -> Iterator[Item]:
    """Items of a walk, with one for all keys that share what comes before the delimiter."""
    group: Bound | None = bound
    while group is not None:
        bound, group = group, None
        for item in walk.after(bound):
            cut = item.name.find(delimiter, len(prefix)) if delimiter else -1
            if item.path is None or cut < 0:
                yield item
                continue
            # Go on after the group, without looking at the rest of it.
            group = Bound(item.name[: cut + len(delimiter)], whole=True)
            if bound.passes(group.name):
                yield Item(group.name, None)
            break


class Walk:
    """Keys of a bucket that begin with `prefix`, in order; with `fold`, directories below the prefix count as one item each."""

    def __init__(self, bucket: Bucket, snapshots: Snapshots, prefix: bytes, *, fold: bool) -> None:
        self._bucket = bucket
        self._snapshots = snapshots
        self._prefix = prefix
        self._fold = fold
        self._anchors = Anchors(bucket.volume.opener, self._top())

    def _top(self) -> int:
        """The directory whose tree holds the keys."""
        return self._bucket.fd

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        self._anchors.close()

    def after(self, bound: Bound) -> Iterator[Item]:
        # All keys with the prefix lie in the directory that its last slash names.
        head, slash, _ = self._prefix.rpartition(b"/")
        path = directory_path(head) if slash else b""
        return self._directory(path, head + slash, bound)

    def _directory(self, path: bytes, base: bytes, bound: Bound) -> Iterator[Item]:
        """Items of the directory at `path`, whose keys begin with `base`, and of those below. Trees can be deeper than Python's stack."""
        stack = [self._level(path, base, bound)]
        while stack:
            found = next(stack[-1], None)
            if found is None:
                stack.pop()
            elif isinstance(found, _Inner):
                stack.append(self._level(found.path, found.base, bound))
            else:
                yield found

    def _level(self, path: bytes, base: bytes, bound: Bound) -> Iterator[Item | _Inner]:
        """Items of one directory, and the directories in it that are to be gone into."""
        entries = self._snapshot(path).entries
        for index in range(self._first(entries, base, bound), len(entries)):
            order, name_path = entries[index]
            name = base + order
            inner = path + b"/" + name_path if path else name_path
            if not name.startswith(self._prefix):
                if order.endswith(b"/") and self._prefix.startswith(name):
                    yield _Inner(inner, name)
                elif name > self._prefix:
                    return
            elif len(name) > KEY_BYTES_MAX:
                continue  # made by hand; no request can ask for it
            elif not order.endswith(b"/"):
                if bound.passes(name):
                    yield Item(name, inner)
            elif not self._fold:
                if bound.passes_some_of(name):
                    yield _Inner(inner, name)
            elif bound.passes(name) and self._holds_object(inner, name):
                yield Item(name, None)

    def _first(self, entries: list[Entry], base: bytes, bound: Bound) -> int:
        """Index of the first entry that can matter."""
        low = max(self._prefix, bound.name)
        if not low.startswith(base):
            return 0
        # The directory that holds the bound sorts at or before it ("a/" < "a/b"): step back to its name.
        head, slash, _ = low[len(base) :].partition(b"/")
        return first_at_least(entries, head + slash)

    def _snapshot(self, path: bytes) -> Snapshot:
        """Entries of a directory; none if it is gone. Raises AccessDeniedError."""
        check_list(self._bucket, path)
        try:
            fd = self._anchors.open(path, DIRECTORY)
        except OSError as error:
            if error.errno in ABSENT:
                return Snapshot([])
            raise
        try:
            return self._read(fd)
        finally:
            os.close(fd)

    def _read(self, fd: int) -> Snapshot:
        return self._snapshots.read(fd)

    def _holds_object(self, path: bytes, name: bytes) -> bool:
        """Whether any key begins with `name`, the directory at `path`: empty directories are no keys."""
        if self._holds_plain_file(path):
            return True
        with type(self)(self._bucket, self._snapshots, name, fold=False) as unfolded:
            try:
                return next(unfolded.after(START), None) is not None
            except AccessDeniedError:
                return True  # the caller may not look into it: its name is told all the same

    def _holds_plain_file(self, path: bytes) -> bool:
        """The usual case, told from the first few names of the directory."""
        try:
            fd = self._anchors.open(path, DIRECTORY)
        except OSError as error:
            if error.errno in ABSENT:
                return False
            raise
        try:
            with os.scandir(fd) as scan:
                return any(
                    item.is_file(follow_symlinks=False) and not item.name.startswith(".")
                    for item in scan
                )
        finally:
            os.close(fd)


def _bound(request: ListRequest) -> Bound:
    if not request.continuation:
        return Bound(key_bytes(request.start_after), whole=False)
    try:
        raw = base64.b64decode(request.continuation, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if raw[:1] not in {b"k", b"p"} or len(raw) > KEY_BYTES_MAX + 1:
        raise InvalidArgumentError("The continuation token provided is incorrect.")
    return Bound(raw[1:], whole=raw[:1] == b"p")


def _token(last: Item) -> str:
    kind = b"p" if last.path is None else b"k"
    return base64.b64encode(kind + last.name, altchars=b"-_").decode("ascii")
