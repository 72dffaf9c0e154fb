"""Data files: one per cached version of an object, and what is known about its blocks. Blocking; callers run it in threads.

    <root>/objects/<2 hex>/<id>           sparse while partial, immutable once its blocks are filled
    <root>/objects/<2 hex>/<id>.blocks    the `BlockMap` of an object of more than one block

An object of at most one block needs no sidecar: its file is written at once, and its id ends in the CRC32C of its bytes. Nothing is synced.
A sidecar is written after the bytes it speaks of, so it is true after the process was killed; after a power failure it may not be,
which the CRCs tell (`load(verify=True)`). Files without an entry in the journal are removed at start.
"""

from __future__ import annotations

import os
from collections.abc import Set as AbstractSet
from pathlib import Path

from awscrt import checksums as crt

from appliance.cache.plan.blocks import BLOCK_BYTES, BlockMap
from appliance.model.errors import CorruptDataError
from appliance.world.disk import Disk

_SIDECAR = ".blocks"


class Store:
    """The directory `root`/objects."""

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self._objects = root / "objects"
        self._objects.mkdir(mode=0o700, parents=True, exist_ok=True)

    # --- names -------------------------------------------------------------------

    def file_id(self, token: bytes, crc: int | None = None) -> str:
        """The id of a new file: 16 unpredictable bytes; for an object of one block also its CRC."""
        name = token.hex()
        return name if crc is None else f"{name}-{crc:08x}"

    def path(self, file: str) -> Path:
        return self._objects / file[:2] / file

    @staticmethod
    def checksum(data: bytes | bytearray | memoryview) -> int:
        """The CRC32C of a block."""
        return int(crt.crc32c(data))

    # --- writing -----------------------------------------------------------------

    def create(self, file: str) -> int:
        """A new, empty data file, open for reading and writing."""
        return self.disk.create(self.path(file))

    def create_whole(self, file: str, data: bytes | bytearray | memoryview) -> int:
        """A new data file with all of its (at most BLOCK_BYTES) bytes."""
        fd = self.create(file)
        try:
            self.disk.write(fd, 0, data)
        except BaseException:
            os.close(fd)
            self.remove(file)
            raise
        return fd

    def write(
        self, fd: int, offset: int, data: bytes | bytearray | memoryview, crc: int
    ) -> tuple[list[tuple[int, int]], int]:
        """Write `data` at `offset`, where `crc` is that of the same block's bytes before `offset`.

        Returns (index, CRC) of the blocks that end within `data`, and the CRC of the begun one.
        """
        self.disk.write(fd, offset, data)
        view = memoryview(data)
        ended: list[tuple[int, int]] = []
        while view:
            take = min(len(view), BLOCK_BYTES - offset % BLOCK_BYTES)
            crc = crt.crc32c(view[:take], crc)
            view = view[take:]
            offset += take
            if offset % BLOCK_BYTES == 0:
                ended.append((offset // BLOCK_BYTES - 1, crc))
                crc = 0
        return ended, crc

    def save_blocks(self, file: str, blocks: BlockMap) -> None:
        """Remember the blocks of a file of more than one block."""
        if blocks.count > 1:
            path = self.path(file)
            self.disk.replace(path.with_name(path.name + _SIDECAR), blocks.to_bytes())

    def remove(self, file: str) -> None:
        """The data file and its sidecar, as far as they are there."""
        path = self.path(file)
        self.disk.unlink(path)
        if "-" not in file:
            self.disk.unlink(path.with_name(path.name + _SIDECAR))

    # --- reading -------------------------------------------------------------------

    def load(self, file: str, size: int, *, verify: bool) -> tuple[int, BlockMap]:
        """Open a data file of an object of `size` bytes. With `verify`, read it: blocks whose bytes are wrong are missing from the map.

        Raises FileNotFoundError, CorruptDataError (nothing of it is usable), OSError.
        """
        fd, length = self.disk.open(self.path(file))
        try:
            blocks = self._blocks(file, size)
            if verify:
                for index in self.wrong_blocks(fd, blocks):
                    blocks.discard(index)
            _check_usable(file, blocks, length)
        except BaseException:
            os.close(fd)
            raise
        return fd, blocks

    def wrong_blocks(self, fd: int, blocks: BlockMap) -> list[int]:
        """Blocks that are said to be here but whose bytes are not what was written."""
        wrong = []
        for index, crc in blocks.present():
            try:
                intact = crt.crc32c(self.disk.read(fd, *blocks.span(index))) == crc
            except CorruptDataError:
                intact = False
            if not intact:
                wrong.append(index)
        return wrong

    def scrub(self, file: str, size: int) -> bool:
        """Whether every block of a data file is what was written. A file that has gone meanwhile is fine."""
        try:
            fd, blocks = self.load(file, size, verify=False)
        except FileNotFoundError:
            return True
        except CorruptDataError:
            return False
        try:
            return not self.wrong_blocks(fd, blocks)
        finally:
            os.close(fd)

    def _blocks(self, file: str, size: int) -> BlockMap:
        name, _, crc = file.partition("-")
        if crc or size == 0:
            blocks = BlockMap(size)
            if blocks.count:
                blocks.add(0, int(crc, 16))
            return blocks
        path = self.path(name)
        try:
            content = self.disk.content(path.with_name(path.name + _SIDECAR))
        except FileNotFoundError:
            content = b""
        found = BlockMap.from_bytes(content, size)
        if found is None:
            raise CorruptDataError(
                f"The block map of the cached file {file} is missing or damaged."
            )
        return found

    # --- at start --------------------------------------------------------------------

    def remove_orphans(self, known: AbstractSet[str]) -> int:
        """Remove every file that belongs to no id in `known`; returns how many."""
        removed = 0
        for path in list(self.disk.files(self._objects)):
            if path.name.removesuffix(_SIDECAR) not in known:
                self.disk.unlink(path)
                removed += 1
        return removed

    def present(self) -> set[str]:
        """Ids of all data files."""
        return {
            path.name for path in self.disk.files(self._objects) if not path.name.endswith(_SIDECAR)
        }

    def space(self) -> tuple[int, int]:
        """(free, total) bytes of the filesystem."""
        return self.disk.space(self._objects)


def _check_usable(file: str, blocks: BlockMap, length: int) -> None:
    if blocks.complete and length != blocks.size:
        raise CorruptDataError(f"The cached file {file} has {length} bytes, not {blocks.size}.")
    if blocks.count and not blocks.filled:
        raise CorruptDataError(f"No block of the cached file {file} is intact.")
