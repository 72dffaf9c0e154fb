"""Registers: the few bytes by which nodes agree. Compare-and-swap has one winner, always."""

from __future__ import annotations

import functools

from appliance.model.errors import ApplianceError, RegisterConflictError, UnsupportedError
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial, fresh_token, together

VALUE_BYTES_MAX = 64 << 10


async def change_by_compare_and_swap(trial: Trial) -> None:
    """Unset is None; only who knows the value may change it; a conflict changes nothing, and may tell the actual value."""
    if not trial.can.compare_and_swap:
        await _are_refused(trial)
        return
    backend, name = trial.backend, f"check-{fresh_token()}"
    expect.equal(await backend.read_register(name), None, "a register that was never set")
    await _conflicts(trial, name, b"guess", None)
    await backend.compare_and_swap(name, None, b"one")
    await _conflicts(trial, name, None, b"one")
    await _conflicts(trial, name, b"other", b"one")
    for old, new in ((b"one", b"two"), (b"two", b"two"), (b"two", b"one"), (b"one", b"three")):
        await backend.compare_and_swap(name, old, new)
        expect.equal(await backend.read_register(name), new, "a register after a swap")


async def hold_any_bytes(trial: Trial) -> None:
    """Empty, binary, up to 64 KiB."""
    if not trial.can.compare_and_swap:
        await _are_refused(trial)
        return
    name, last = f"check-{fresh_token()}", None
    for value in (b"", b"\0", bytes(range(256)), trial.data(VALUE_BYTES_MAX), b"small again"):
        await trial.backend.compare_and_swap(name, last, value)
        expect.equal(await trial.backend.read_register(name), value, "a register's value")
        last = value


async def swap_once_among_many(trial: Trial) -> None:
    """Of several that set the same unset register, or replace the same value, one succeeds."""
    if not trial.can.compare_and_swap:
        await _are_refused(trial)
        return
    name, last = f"check-{fresh_token()}", None
    swap = trial.backend.compare_and_swap
    for turn in range(4):
        values = [f"{turn}-{number}".encode() for number in range(6)]
        results = await together(*(functools.partial(swap, name, last, v) for v in values))
        winners = [value for value, result in zip(values, results, strict=True) if result is None]
        losers = {type(result) for result in results if result is not None}
        expect.equal(len(winners), 1, "swaps from one value that succeeded at once")
        expect.equal(losers, {RegisterConflictError}, "errors of the others")
        last = await trial.backend.read_register(name)
        expect.equal(last, winners[0], "the register after the race")


async def count_without_loss(trial: Trial) -> None:
    """Increments by many at once, each retried until it succeeds, all count."""
    if not trial.can.compare_and_swap:
        await _are_refused(trial)
        return
    name = f"check-{fresh_token()}"

    async def increment() -> None:
        while True:
            value = await trial.backend.read_register(name)
            new = str(int(value or b"0") + 1).encode()
            try:
                await trial.backend.compare_and_swap(name, value, new)
            except RegisterConflictError:
                continue
            return

    results = await together(*(functools.partial(increment) for _ in range(8)))
    expect.equal(results, [None] * 8, "outcomes of increments")
    expect.equal(await trial.backend.read_register(name), b"8", "the sum of eight increments")


async def are_apart(trial: Trial) -> None:
    """Registers do not touch each other, and are no objects of any bucket."""
    if not trial.can.compare_and_swap:
        await _are_refused(trial)
        return
    backend, stem = trial.backend, f"check-{fresh_token()}"
    before = await trial.names()
    await backend.compare_and_swap(stem, None, b"1")
    expect.equal(await backend.read_register(f"{stem}-2"), None, "a register of another name")
    await backend.compare_and_swap(f"{stem}-2", None, b"2")
    expect.equal(await backend.read_register(stem), b"1", "a register after another changed")
    expect.equal(await trial.names(), before, "objects after registers were set")


async def _are_refused(trial: Trial) -> None:
    with expect.raises(UnsupportedError, what="read_register without compare_and_swap"):
        await trial.backend.read_register("check-none")
    with expect.raises(UnsupportedError, what="compare_and_swap, not declared"):
        await trial.backend.compare_and_swap("check-none", None, b"1")


async def _conflicts(trial: Trial, name: str, expected: bytes | None, actual: bytes | None) -> None:
    what = f"compare_and_swap from {expected!r} where there is {actual!r}"
    try:
        await trial.backend.compare_and_swap(name, expected, b"wrong")
    except RegisterConflictError as error:
        expect.true(error.actual in (None, actual), f"{what}: the error tells {error.actual!r}")
    except ApplianceError as error:
        raise expect.ViolationError(f"{what}: {type(error).__name__}") from error
    else:
        raise expect.ViolationError(f"{what} succeeded")
    expect.equal(await trial.backend.read_register(name), actual, f"the register after {what}")


CHECKS = (
    change_by_compare_and_swap,
    hold_any_bytes,
    swap_once_among_many,
    count_without_loss,
    are_apart,
)
