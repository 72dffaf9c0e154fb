"""The index: name -> `Entry`. Hot entries live in memory; all of them are in the journal, and in the eviction queues.

The memory is bounded: what has not been used for long is forgotten here and read from the journal again (8 us). Open descriptors are
bounded likewise, by second chance. Every change of the index is one plain function, so it is atomic between awaits.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import OrderedDict
from collections.abc import Callable

import trio

from appliance.cache.entry import Entry
from appliance.cache.plan.pins import Pins
from appliance.cache.plan.s3fifo import Name, Node, S3Fifo
from appliance.cache.plan.watermarks import Watermarks
from appliance.cache.routes import Route
from appliance.journal import Journal
from appliance.model.errors import ApplianceError
from appliance.model.events import Change, Kind
from appliance.model.objects import ObjectInfo

logger = logging.getLogger(__name__)

ENTRIES_MAX = 200_000
# Free space is looked at each time so much has been written.
SPACE_CHECK_BYTES = 64 << 20


class Index:
    """See the module. `on_unread` is called when the last reader of an entry that is still fetched leaves, `on_settle` when a partial
    entry is neither read nor fetched any more.
    """

    def __init__(
        self,
        journal: Journal,
        marks: Watermarks,
        *,
        entries_max: int = ENTRIES_MAX,
        open_files_max: int,
    ) -> None:
        self.marks = marks
        self.fifo = S3Fifo(marks.capacity_bytes)
        self.pins = Pins(journal.pins())
        self.on_settle: Callable[[Entry], None] = lambda _entry: None
        self.on_unread: Callable[[Entry], None] = lambda _entry: None
        self.pressure = trio.Event()
        self._written_bytes = 0
        self.short_bytes = 0
        self.trash_in, self.trash_out = trio.open_memory_channel[str](math.inf)
        self._journal = journal
        self._entries: OrderedDict[Name, Entry] = OrderedDict()
        self._open: OrderedDict[Entry, None] = OrderedDict()
        self.unverified: set[str] = set()  # files from before an unclean stop, not yet read since
        self._dead: set[str] = set()  # files dropped, of which the journal may not know yet
        self._entries_max = entries_max
        self._open_files_max = open_files_max
        self.evicted_objects = 0
        self.evicted_bytes = 0
        self.files_to_remove = 0

    # --- looking up ----------------------------------------------------------------

    def get(self, name: Name) -> Entry | None:
        """The entry in memory, if it is there."""
        return self._entries.get(name)

    def lookup(self, name: Name, route: Route) -> Entry | None:
        """The entry, from memory or from the journal."""
        entry = self._entries.get(name)
        if entry is not None:
            return entry
        # Every row has a node in the queues: a miss need not ask SQLite.
        row = self._journal.entry(*name) if name in self.fifo else None
        if row is None or row.file in self._dead:
            return None
        entry = self.new(name, route, row.info)
        entry.file = row.file
        entry.journalled = True
        entry.node = self.fifo.get(name) or self.fifo.insert(name, row.size)
        self._remember(entry)
        return entry

    def new(self, name: Name, route: Route, info: ObjectInfo) -> Entry:
        """An entry that nobody can find yet."""
        return Entry(name, route, info, self._on_idle)

    def file_of(self, name: Name) -> str:
        """The data file of `name` according to the journal, "" if it has none."""
        row = self._journal.entry(*name) if name in self.fifo else None
        return row.file if row is not None and row.file not in self._dead else ""

    def holds_below(self, bucket: str, prefix: str) -> bool:
        """Whether a name that begins with `prefix` is here. Looks at all of them: about 0.1 s for a million."""
        names = itertools.chain((node.name for node in self.fifo), self._entries)
        return any(name[0] == bucket and name[1].startswith(prefix) for name in names)

    # --- changing ------------------------------------------------------------------

    def install(self, entry: Entry) -> None:
        """Make `entry` the newest version of its name; the one before is doomed."""
        before = self._entries.get(entry.name)
        if before is not None and before is not entry:
            self.doom(before, "replaced")
        self._remember(entry)

    def has_file(self, entry: Entry) -> None:
        """`entry` got a data file: it takes part in eviction."""
        if not entry.doomed:
            size = entry.blocks.present_bytes if entry.blocks is not None else entry.info.size
            entry.node = self.fifo.insert(entry.name, 0)
            self.fifo.resize(entry.name, size)
            self.grew(entry, size)

    def opened(self, entry: Entry) -> None:
        """`entry.fd` was opened; another one may be closed for it."""
        self._open[entry] = None
        for _ in range(2 * len(self._open)):
            if len(self._open) <= self._open_files_max:
                break
            other, _none = self._open.popitem(last=False)
            if other.touched or not other.idle or other is entry:
                other.touched = False
                self._open[other] = None
            else:
                other.close_file()

    def fill_change(self, entry: Entry) -> Change:
        """What the journal must say about the entry's file."""
        bucket, key = entry.name
        detail: dict[str, object] = {
            "file": entry.file,
            "complete": entry.complete,
            "info": entry.info,
        }
        return Change(
            kind=Kind.FILL, bucket=bucket, key=key, version=entry.info.version, detail=detail
        )

    def grew(self, entry: Entry, delta_bytes: int) -> None:
        """More bytes of `entry` are on the disk."""
        if delta_bytes and not entry.doomed and entry.blocks is not None:
            self.fifo.resize(entry.name, entry.blocks.present_bytes)
        self._written_bytes += delta_bytes
        if self.fifo.used_bytes > self.marks.high_bytes or self._written_bytes >= SPACE_CHECK_BYTES:
            self._written_bytes = 0
            self.pressed()

    def pressed(self, short_bytes: int = 0) -> None:
        """Have the space looked at, soon; `short_bytes` are known to be missing, whatever the watermarks say."""
        self.short_bytes = max(self.short_bytes, short_bytes)
        self.pressure.set()

    def record_fill(self, entry: Entry) -> None:
        """Tell the journal, soon, what the entry's file holds."""
        if not entry.doomed and self._append_soon(self.fill_change(entry)):
            entry.journalled = True

    def doom(self, entry: Entry, reason: str, *, record: bool = True) -> None:
        """`entry` is no longer the newest version, or its file is not usable. `record=False`: the journal knows by a commit."""
        if entry.doomed:
            return
        entry.doomed = True
        if self._entries.get(entry.name) is entry:
            del self._entries[entry.name]
        if entry.node is not None and self.fifo.get(entry.name) is entry.node:
            self.fifo.discard(entry.name)
        if entry.file:
            self._dead.add(entry.file)
        if entry.journalled and record:
            self._record_drop(entry.name, reason, entry.file)
        if not entry.readers:
            self._on_idle(entry)

    def drop(self, name: Name, reason: str) -> None:
        """Forget whatever version of `name` is cached, in memory or not."""
        entry = self._entries.get(name)
        if entry is not None:
            self.doom(entry, reason)
            return
        if name in self.fifo:
            self.drop_row(name, reason)

    def drop_row(self, name: Name, reason: str) -> None:
        """Forget a version that is not in memory."""
        self.fifo.discard(name)
        row = self._journal.entry(*name)
        if row is not None and row.file not in self._dead:
            self._record_drop(name, reason, row.file)
            self.bury(row.file)

    def superseded(self, name: Name, file: str) -> None:
        """The journal has just replaced or dropped the row of `name`, which had `file`."""
        entry = self._entries.get(name)
        if entry is not None:
            self.doom(entry, "written", record=False)
        self.fifo.discard(name)
        if file and file not in self._dead:
            self.bury(file)

    def drop_change(self, name: Name, reason: str, file: str) -> Change:
        """What the journal must say when the file of `name` goes."""
        bucket, key = name
        detail: dict[str, object] = {"reason": reason, "file": file}
        return Change(kind=Kind.DROP, bucket=bucket, key=key, detail=detail)

    def drop_bucket(self, bucket: str) -> None:
        """Forget everything of a bucket."""
        names = {node.name for node in self.fifo if node.name[0] == bucket}
        names.update(name for name in self._entries if name[0] == bucket)
        for name in names:
            self.drop(name, "bucket deleted")

    # --- eviction ------------------------------------------------------------------------

    def evict(self) -> int | None:
        """Evict one object: its size in bytes; None if all that is left is open or pinned."""
        node: Node | None = self.fifo.evict(self._exempt)
        if node is None:
            return None
        entry = self._entries.get(node.name)
        if entry is not None:
            self.doom(entry, "evicted")
        else:
            self.drop_row(node.name, "evicted")
        self.evicted_objects += 1
        self.evicted_bytes += node.size
        return node.size

    def gone(self, file: str) -> None:
        """The file is removed and the journal knows."""
        self._dead.discard(file)
        self.unverified.discard(file)
        self.files_to_remove -= 1

    def frequencies(self) -> dict[str, int]:
        """Uses of each cached object in memory, by data file: what a restart should know."""
        return {
            entry.file: self.fifo.worth(entry.node)
            for entry in self._entries.values()
            if entry.node is not None and entry.file and entry.journalled
        }

    def close(self) -> None:
        """Close every idle file, at the end."""
        for entry in list(self._open):
            if entry.idle:
                entry.close_file()
        self._open.clear()

    def statistics(self) -> dict[str, float]:
        queues = {f"queue_{name}": value for name, value in self.fifo.statistics().items()}
        return queues | {
            "objects": len(self.fifo),
            "used_bytes": self.fifo.used_bytes,
            "capacity_bytes": self.fifo.capacity_bytes,
            "memory_entries": len(self._entries),
            "open_files": len(self._open),
            "unverified_files": len(self.unverified),
            "pins": len(self.pins),
            "evicted_objects_total": self.evicted_objects,
            "evicted_bytes_total": self.evicted_bytes,
            "files_to_remove": self.files_to_remove,
        }

    # --- inside ----------------------------------------------------------------------------

    def _exempt(self, name: Name) -> bool:
        entry = self._entries.get(name)
        return (entry is not None and not entry.idle) or self.pins.cover(*name)

    def _remember(self, entry: Entry) -> None:
        self._entries[entry.name] = entry
        for _ in range(2 * len(self._entries)):
            if len(self._entries) <= self._entries_max:
                break
            name, other = self._entries.popitem(last=False)
            if other.touched or not other.idle or other is entry:
                other.touched = False
                self._entries[name] = other
            else:
                self._forget(other)

    def _forget(self, entry: Entry) -> None:
        """An idle entry leaves the memory; without a row in the journal its file would be lost, so it goes too."""
        self._open.pop(entry, None)
        entry.close_file()
        if entry.file and not entry.journalled:
            self.doom(entry, "forgotten", record=False)

    def _on_idle(self, entry: Entry) -> None:
        if not entry.idle:
            if not entry.readers and entry.fetches:
                self.on_unread(entry)
            return
        if entry.doomed:
            self._open.pop(entry, None)
            entry.close_file()
            file, entry.file = entry.file, ""
            if file:
                self.bury(file)
        elif not entry.complete and entry.blocks and entry.blocks.filled != entry.saved_blocks:
            self.on_settle(entry)

    def bury(self, file: str) -> None:
        """Have a data file that nobody needs removed."""
        self._dead.add(file)
        self.files_to_remove += 1
        self.trash_in.send_nowait(file)

    def _record_drop(self, name: Name, reason: str, file: str) -> None:
        self._append_soon(self.drop_change(name, reason, file))

    def _append_soon(self, change: Change) -> bool:
        """False where the journal cannot take it: then the file is found to be missing, or an orphan, at the next start."""
        try:
            self._journal.append_soon(change)
        except ApplianceError as error:
            logger.warning("The journal cannot take a %s: %s", change.kind, error)
            return False
        return True
