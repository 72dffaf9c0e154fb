"""What a directory's listing told of its files, so that opening many of them costs one backend request each.

To look a name up cold takes two requests: is there such an object, and is there a directory of that name? Whoever looks up a second name of
a directory will probably look up more, so that time a page of the directory is listed in place of the second question. It answers the
question for all files in it; and of a small file, the one request that remains may as well bring the bytes. Hints only save questions: what
is shown always comes from a request for the object itself.
"""

from __future__ import annotations

from appliance.model.names import key_bytes
from appliance.model.objects import ListPage
from appliance.mount.recent import Recent

REMEMBERED = 50_000
# Lookups that missed in this many directories are remembered.
DIRECTORIES = 64


class Hints:
    """Sizes of files that are known not to be directories too."""

    def __init__(self, recent: Recent, remembered: int = REMEMBERED) -> None:
        self._recent = recent
        self._remembered = remembered
        self._sizes: dict[tuple[str, str], tuple[int, float, int]] = {}
        self._missed: dict[tuple[str, str], float] = {}
        self.used = 0

    def missed(self, bucket: str, directory: str, now_s: float, within_s: float) -> bool:
        """Note a lookup that must ask; True if there was one in the same directory within the last `within_s` seconds."""
        before = self._missed.pop((bucket, directory), None)
        self._missed[bucket, directory] = now_s
        if len(self._missed) > DIRECTORIES:
            del self._missed[next(iter(self._missed))]
        return before is not None and now_s - before < within_s

    def learn(self, bucket: str, page: ListPage, mark: int, until_s: float) -> None:
        """Take in a page of a directory, asked for after `mark`."""
        if len(self._sizes) > self._remembered:
            self._sizes.clear()
        for info in page.objects:
            if is_absent(page, info.key):
                self._sizes[bucket, info.key] = (info.size, until_s, mark)

    def size(self, bucket: str, key: str, now_s: float) -> int | None:
        """Size of a file that is probably there and is no directory; None where there is no such hint."""
        hint = self._sizes.get((bucket, key))
        if hint is None:
            return None
        size, until_s, mark = hint
        if until_s <= now_s or self._recent.touched(mark, bucket, key + "/"):
            return None
        self.used += 1
        return size

    def statistics(self) -> dict[str, float]:
        return {"hints": len(self._sizes), "hints_used_total": self.used}


def is_absent(page: ListPage, key: str) -> bool:
    """True if `page`, which covers what comes after `key`, shows that there is no directory `key/`: it goes beyond, or ends the listing."""
    directory = key + "/"
    if directory in page.common_prefixes:
        return False
    return not page.continuation or key_bytes(page.last) > key_bytes(directory)
