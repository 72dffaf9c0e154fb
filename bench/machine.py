"""What a shared virtual machine does to measurements, and how to keep it out of them."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path

# Of the kernel's free page reporting: pages of at least this order are handed back.
_REPORTING = Path("/sys/module/page_reporting/parameters/page_reporting_order")
_NEVER = "11"

_BACKED_BYTES = 5 << 29  # a little more than the greatest row writes in one measurement
_PAGE = 4096


def back_memory(size_bytes: int = _BACKED_BYTES) -> None:
    """Touch so much memory and free it again.

    Guests that hand free pages back to their host pay for the first touch of each: 3 s a GiB was seen, against 0.2 s for the copy itself.
    Whoever is measured first would pay for the page cache of whoever comes next.
    """
    with mmap.mmap(-1, size_bytes) as memory:
        for offset in range(0, size_bytes, _PAGE):
            memory[offset] = 1


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Have free pages not handed back to the host meanwhile, where that can be told to the kernel (as root)."""
    try:
        before = _REPORTING.read_text()
        _REPORTING.write_text(_NEVER)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        _REPORTING.write_text(before)
