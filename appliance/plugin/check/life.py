"""A backend as a part of the product: its name, its probe, its statistics, what it does not claim to have."""

from __future__ import annotations

from appliance.model.checksums import ALGORITHMS
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial


async def has_a_name(trial: Trial) -> None:
    """`name` is what the configuration calls it; metrics and errors are labelled with it."""
    expect.true(trial.backend.name, "the backend's name is empty")


async def answers_a_probe(trial: Trial) -> None:
    await trial.backend.probe()


async def capabilities_are_known_ones(trial: Trial) -> None:
    unknown = set(trial.can.checksums) - set(ALGORITHMS)
    expect.equal(unknown, set(), "checksum algorithms declared that S3 does not know")


async def statistics_are_numbers(trial: Trial) -> None:
    """`statistics` maps names to finite numbers, at any time; counters do not run backwards is for the backend's own tests."""
    await trial.put("a", b"1")
    statistics = trial.backend.statistics()
    for name, value in statistics.items():
        expect.true(name, "statistics has an empty name")
        expect.true(isinstance(value, (int, float)), f"statistics[{name!r}] is {value!r}")
        expect.true(value == value, f"statistics[{name!r}] is not a number")  # noqa: PLR0124  # NaN


async def opens_local_files_if_it_says_so(trial: Trial) -> None:
    """With `local_files`, `open_local` gives a descriptor on exactly the object's bytes; without, None."""
    data = trial.data(5000)
    info = await trial.put("a", data)
    local = await trial.backend.open_local(trial.bucket, trial.key("a"), version=info.version)
    if not trial.can.local_files:
        expect.equal(local, None, "open_local of a backend without local_files")
        return
    expect.true(local is not None, "open_local returned None although local_files is declared")
    if local is None:
        return
    try:
        with open(local.fd, "rb", closefd=False) as file:  # noqa: ASYNC230  # tiny, by descriptor
            expect.equal(file.read(), data, "bytes of the local file")
        expect.equal(local.info.version, info.version, "version of the local file")
        expect.equal(local.info.etag, info.etag, "ETag of the local file")
    finally:
        local.close()


CHECKS = (
    has_a_name,
    answers_a_probe,
    capabilities_are_known_ones,
    statistics_are_numbers,
    opens_local_files_if_it_says_so,
)
