"""Path components and keys: which keys a filesystem can show, and under which names.

A directory is a prefix that ends in "/"; its key is that prefix ("" for the root of a bucket). A file's key never ends in "/". A
component is 1 to 255 bytes without "/" and NUL; keys with components that no filesystem can name (empty, ".", "..", too long) are not
shown. They stay reachable by S3.
"""

from __future__ import annotations

from appliance.model.names import KEY_BYTES_MAX, key_bytes, key_text

NAME_BYTES_MAX = 255


def is_component(name: bytes) -> bool:
    """True if `name` can stand in a directory."""
    return 0 < len(name) <= NAME_BYTES_MAX and name not in {b".", b".."} and b"/" not in name


def child_key(directory: str, name: bytes) -> str:
    """Key of the file `name` in the directory whose key is `directory`."""
    return directory + key_text(name)


def fits(key: str) -> bool:
    """True if S3 allows a key of this length."""
    return len(key_bytes(key)) <= KEY_BYTES_MAX


def split(key: str) -> tuple[str, bytes]:
    """Directory key and name of a file's or directory's key: "a/b" and "a/b/" are both "b" in "a/"."""
    head, _, tail = key.removesuffix("/").rpartition("/")
    return (head + "/" if head or key.startswith("/") else ""), key_bytes(tail)


def ancestors(key: str) -> list[str]:
    """Keys of the directories above `key`, nearest first, without the bucket's root: "a/b/c" gives "a/b/", "a/"."""
    found = []
    end = key.rfind("/", 0, len(key) - 1)
    while end >= 0:
        found.append(key[: end + 1])
        end = key.rfind("/", 0, end)
    return found
