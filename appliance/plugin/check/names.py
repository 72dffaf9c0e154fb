"""Keys: every one that S3 allows is stored under exactly its name, beside every other, and reaches nothing else."""

from __future__ import annotations

from appliance.model.errors import (
    AccessDeniedError,
    InvalidKeyError,
    KeyTooLongError,
    NoSuchKeyError,
)
from appliance.model.names import KEY_BYTES_MAX, key_bytes
from appliance.model.objects import PutOptions
from appliance.plugin.body import BytesBody
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial

# How a storage says that it cannot hold a key: it is not possible, or kept for something else.
REFUSALS = (InvalidKeyError, KeyTooLongError, AccessDeniedError)
PLAIN = ("a", "A", "a.b", "dir/file", "dir/sub/file", "0", "-", "_", "~", "a~", "file.txt.tmp")
UNICODE = (
    "ü",
    "u\u0308",
    "日本語/ファイル",
    "\U0001f600",
    "\uff5e",
    "\u200b",
    "\ufeffbom",
    "ß",
    "SS",
    "İ",
)
SPECIAL = (
    " ", "a b", " lead", "trail ", "a+b", "%", "%20", "a%2Fb", "%00", "%2e%2e/x", "a&b=c", "q?x", "h#x", "a:b", "*", "[a]",
    "{a}", "'q'", '"q"', "back\\slash", "a\\..\\b", "$HOME", "`ls`", "<&>", "@", ",", ";", "!", "|", "^", "=", "(a)",
)  # fmt: skip
DOTS = (
    ".", "..", "...", "./a", "../a", "../../etc/passwd", "a/.", "a/..", "a/./b", "a/../b", "a/../../../b", ".hidden", "a/.hidden/b",
    ".snap/x", ".appliance/x", ".git/config", "a./b", "a../b",
)  # fmt: skip
SLASHES = (
    "/",
    "//",
    "///",
    "/a",
    "//a",
    "a/",
    "a//",
    "a//b",
    "a///b",
    "/a/",
    "b/c/",
    "b//",
    "/../x",
    "a/b/",
)
CONTROL = ("\x01", "a\tb", "a\nb", "a\rb", "\x1f", "\x7f", "\u0085", "line\nbreak/x\ny")
SYSTEM = ("con", "nul", "lost+found", "aux.txt", "a" * 255, "b" * 256, "c" * 300 + "/x", "ü" * 200)


async def plain_ones_round_trip(trial: Trial) -> None:
    await _round_trip(trial, PLAIN)


async def unicode_ones_round_trip(trial: Trial) -> None:
    """Unchanged: not normalised (u + diaeresis is not ü), not folded."""
    await _round_trip(trial, UNICODE)


async def special_ones_round_trip(trial: Trial) -> None:
    """Characters that mean something to URLs, XML, shells and other systems mean nothing here."""
    await _round_trip(trial, SPECIAL)


async def dots_round_trip(trial: Trial) -> None:
    """`.` and `..` are names like others: they are not resolved, and lead nowhere."""
    await _round_trip(trial, DOTS)


async def slashes_round_trip(trial: Trial) -> None:
    """Leading, trailing and doubled slashes count."""
    await _round_trip(trial, SLASHES)


async def control_characters_round_trip(trial: Trial) -> None:
    await _round_trip(trial, CONTROL)


async def awkward_ones_round_trip(trial: Trial) -> None:
    """Long segments, and names that some systems keep for themselves."""
    await _round_trip(trial, SYSTEM)


async def long_ones_round_trip(trial: Trial) -> None:
    """1,024 bytes, whatever they are made of."""
    room = KEY_BYTES_MAX - len(key_bytes(trial.prefix))
    await _round_trip(
        trial,
        (
            "l" * room,
            "/" * room,
            "a/" * (room // 2),
            "%" * room,
            "ü" * (room // 2),
            "\U0001f600" * (room // 4),
            "d" * (room - 2) + "/f",
            " " * room,
        ),
    )


async def nested_ones_coexist(trial: Trial) -> None:
    """`a`, `a/` and `a/b` are three objects, whichever comes first, and deleting one leaves the others."""
    chain = ("a", "a/", "a/b", "a/b/", "a/b/c", "a//", "a/b//c")
    orders = (chain, tuple(reversed(chain)))
    for number, order in enumerate(orders):
        names = [f"{number}/{name}" for name in order if _storable(trial, f"{number}/{name}")]
        for name in names:
            await trial.put(name, name.encode())
        for index, name in enumerate(names):
            await trial.holds(name, name.encode(), "before its turn to be deleted")
            await trial.delete(name)
            await trial.missing(name, "after delete")
            left = sorted(names[index + 1 :], key=key_bytes)
            expect.equal(await trial.names(), left, f"names after {name!r} was deleted")


async def deleting_one_leaves_its_likes(trial: Trial) -> None:
    """Keys that a path library would take for the same are not."""
    likes = ["a/b", "a//b", "/a/b", "a/./b", "a/b/", "./a/b", "a/x/../b", "A/b", "a/b ", "a%2Fb"]
    likes = [name for name in likes if _storable(trial, name)]
    for name in likes:
        await trial.put(name, name.encode())
    await trial.delete("a/b")
    await trial.missing("a/b", "after delete")
    for name in likes[1:]:
        await trial.holds(name, name.encode(), "after a/b was deleted")


async def missing_ones_are_told_as_missing(trial: Trial) -> None:
    """A key that was never put is no object, however it is written, and beside whatever objects."""
    await trial.put("a/b", b"1")
    for name in (
        "a",
        "a/",
        "a/b/",
        "a//b",
        "./a/b",
        "a/../a/b",
        "..",
        ".",
        "/",
        "a/b/c",
        "x/../a/b",
    ):
        if _storable(trial, name):
            with expect.raises(NoSuchKeyError, what=f"head of the missing {name!r}"):
                await trial.head(name)
            await trial.delete(name)
    await trial.holds("a/b", b"1", "after other names were deleted")


async def impossible_ones_are_refused(trial: Trial) -> None:
    """Empty, with a NUL byte, or longer than 1,024 bytes."""
    refused = (InvalidKeyError, KeyTooLongError)
    tails = ["a\0b", "\0", "x" * (KEY_BYTES_MAX + 1), "ü" * 513]
    keys = ["", *(trial.key(tail) for tail in tails)]
    for key in keys:
        with expect.raises(*refused, what=f"put of the key {expect.short(key)}"):
            await trial.backend.put(trial.bucket, key, BytesBody(b"x"), PutOptions())
        with expect.raises(*refused, what=f"create_upload of the key {expect.short(key)}"):
            await trial.backend.create_upload(trial.bucket, key, PutOptions())
        with expect.raises(*refused, NoSuchKeyError, what=f"head of {expect.short(key)}"):
            await trial.backend.head(trial.bucket, key)
    expect.equal(await trial.names(), [], "objects after keys were refused")


async def that_are_not_utf8_round_trip_or_are_refused(trial: Trial) -> None:
    """Bytes that are no UTF-8 come as surrogate escapes; a storage that cannot hold them says so."""
    name = "raw-\udcff\udcfe"
    try:
        await trial.put(name, b"raw")
    except InvalidKeyError:
        expect.equal(await trial.names(), [], "objects after the key was refused")
        return
    await trial.holds(name, b"raw", "put under bytes that are no UTF-8")
    expect.equal(await trial.names(), [name], "names listed")


def _storable(trial: Trial, name: str) -> bool:
    return not trial.allow.unstorable(trial.key(name))


async def _round_trip(trial: Trial, names: tuple[str, ...]) -> None:
    """All of them at once: each holds its own bytes, the list is complete and in order, and each can be deleted by itself."""
    kept = [name for name in names if _storable(trial, name)]
    for name in set(names) - set(kept):
        with expect.raises(*REFUSALS, what=f"put of the unstorable {name!r}"):
            await trial.put(name, b"x")
    infos = await trial.put_all({name: name.encode() for name in kept})
    for name, info in infos.items():
        expect.equal(info.key, trial.key(name), "key told by put")
    expect.equal(await trial.names(), sorted(kept, key=key_bytes), "names listed")
    for name in kept:
        info = await trial.holds(name, name.encode(), "with all of them there")
        expect.equal(info.key, trial.key(name), "key told by head")
    for name in kept[::2]:
        await trial.delete(name)
    expect.equal(await trial.names(), sorted(kept[1::2], key=key_bytes), "names left")


CHECKS = (
    plain_ones_round_trip,
    unicode_ones_round_trip,
    special_ones_round_trip,
    dots_round_trip,
    slashes_round_trip,
    control_characters_round_trip,
    awkward_ones_round_trip,
    long_ones_round_trip,
    nested_ones_coexist,
    deleting_one_leaves_its_likes,
    missing_ones_are_told_as_missing,
    impossible_ones_are_refused,
    that_are_not_utf8_round_trip_or_are_refused,
)
