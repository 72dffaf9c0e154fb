"""Ranged reads, every form of range, against slicing (RFC 9110 section 14)."""

from __future__ import annotations

from appliance.model.errors import InvalidRangeError
from appliance.model.ranges import RangeSpec
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial

MIB = 1 << 20


async def of_small_objects_match_slices(trial: Trial) -> None:
    """All first/last pairs, open ends and suffixes of a few bytes."""
    data = b"0123456"
    await trial.put("a", data)
    positions = (0, 1, 3, 6, 7, 100)
    specs = [RangeSpec(first, last) for first in positions for last in positions if first <= last]
    specs += [RangeSpec(first, None) for first in positions]
    specs += [RangeSpec(None, length) for length in (0, 1, 3, 7, 8, 100)]
    for spec in specs:
        await _matches(trial, "a", data, spec)


async def of_large_objects_match_slices(trial: Trial) -> None:
    """Ranges that begin, end or lie across the borders of blocks, and random ones."""
    data = trial.data(2 * MIB + 11)
    await trial.put("a", data)
    borders = (0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, len(data) - 1)
    specs = [RangeSpec(first, None) for first in borders]
    specs += [RangeSpec(0, last) for last in borders] + [RangeSpec(MIB - 1, MIB)]
    specs += [RangeSpec(None, length) for length in (1, MIB + 1, len(data))]
    for _ in range(10):
        first = trial.random.randrange(len(data))
        specs.append(RangeSpec(first, trial.random.randrange(first, len(data) + 10)))
    for spec in specs:
        await _matches(trial, "a", data, spec)


async def of_empty_objects_do_not_exist(trial: Trial) -> None:
    await trial.put("a", b"")
    for spec in (RangeSpec(0, None), RangeSpec(0, 0), RangeSpec(None, 1), RangeSpec(5, 9)):
        await _matches(trial, "a", b"", spec)
    expect.equal(await trial.read("a"), b"", "bytes of an empty object, without a range")


async def tell_what_they_are(trial: Trial) -> None:
    """The stream's range is resolved on entry, and its info is that of the whole object."""
    data = trial.data(1000)
    info = await trial.put("a", data)
    async with trial.backend.read(trial.bucket, trial.key("a"), RangeSpec(None, 10)) as stream:
        expect.equal((stream.range.offset, stream.range.length), (990, 10), "resolved range")
        expect.equal(stream.info.size, 1000, "size told with a range")
        expect.equal(stream.info.etag, info.etag, "ETag told with a range")
        expect.equal(stream.info.version, info.version, "version told with a range")


async def may_name_a_version(trial: Trial) -> None:
    info = await trial.put("a", b"0123456789")
    found = await trial.read("a", RangeSpec(2, 4), version=info.version)
    expect.equal(found, b"234", "a range of a named version")


async def _matches(trial: Trial, name: str, data: bytes, spec: RangeSpec) -> None:
    what = f"range {spec.first}-{spec.last} of {len(data)} bytes"
    expected = _slice(data, spec)
    if expected:
        expect.equal(await trial.read(name, spec), expected, what)
        return
    try:
        await trial.read(name, spec)
    except InvalidRangeError as error:
        expect.equal(error.size, len(data), f"size told by the error for {what}")
        return
    raise expect.ViolationError(f"{what}: expected InvalidRangeError, but it succeeded")


def _slice(data: bytes, spec: RangeSpec) -> bytes:
    if spec.first is None:
        return data[-spec.last :] if spec.last else b""
    return data[spec.first : None if spec.last is None else spec.last + 1]


CHECKS = (
    of_small_objects_match_slices,
    of_large_objects_match_slices,
    of_empty_objects_do_not_exist,
    tell_what_they_are,
    may_name_a_version,
)
