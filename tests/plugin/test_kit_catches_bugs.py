"""Each planted bug is found by the kit, and named."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from appliance.plugin.check import CHECKS, Allowances, NotConformingError, check_backend
from appliance_example.backend import MemoryBackend
from tests.support import planted_naming_bugs  # noqa: F401  # it enters them in BUGS
from tests.support.bugs import BUGS
from tests.support.planted_bugs import VersionIsTheSecond
from tests.support.plugin_host import backend_config


@pytest.mark.parametrize(
    ("bug", "check"), BUGS, ids=[f"{bug.__name__}-{check}" for bug, check in BUGS]
)
async def test_a_planted_bug_is_named_by_its_check(bug: type[MemoryBackend], check: str) -> None:
    with pytest.raises(NotConformingError) as caught:
        await check_backend(bug(backend_config("buggy")), only={check})
    assert f"1 of 1 checks failed on the backend buggy (seed 1):\n  {check}: " in str(caught.value)


async def test_one_bug_does_not_hide_the_checks_that_pass() -> None:
    with pytest.raises(NotConformingError) as caught:
        await check_backend(VersionIsTheSecond(backend_config()))
    failed = [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]]
    assert "versions.change_with_the_bytes" in failed
    assert len(failed) == len(caught.value.exceptions) < len(CHECKS) // 4


class Hangs(MemoryBackend):
    async def head(self, bucket, key):
        await trio.sleep_forever()


async def test_a_backend_that_hangs_is_told_by_the_time_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with pytest.raises(NotConformingError, match="not done after 60 s"):
        await check_backend(Hangs(backend_config()), only={"versions.stay_while_nothing_changes"})


async def test_a_gap_that_is_known_is_no_failure_and_one_that_closed_is() -> None:
    name = "versions.change_with_the_bytes"
    gaps = Allowances(gaps={name: "the clock ticks once a second"})
    assert await check_backend(VersionIsTheSecond(backend_config()), allow=gaps, only={name})
    with pytest.raises(NotConformingError, match="remove it from the gaps"):
        await check_backend(MemoryBackend(backend_config()), allow=gaps, only={name})


@pytest.mark.parametrize("backend_class", [MemoryBackend, VersionIsTheSecond])
async def test_what_fails_sometimes_may_pass(backend_class: type[MemoryBackend]) -> None:
    name = "versions.change_with_the_bytes"
    allow = Allowances(sometimes={name: "the clock is coarse"})
    assert await check_backend(backend_class(backend_config()), allow=allow, only={name}) == [name]


async def test_a_name_that_is_no_check_is_an_error_of_the_caller() -> None:
    backend = MemoryBackend(backend_config())
    with pytest.raises(ValueError, match=r"no such check: listing\.nothing"):
        await check_backend(backend, only={"listing.nothing"})
    with pytest.raises(ValueError, match=r"no such check: names\.typo"):
        await check_backend(backend, allow=Allowances(gaps={"names.typo": "why"}))


async def test_keys_that_a_storage_cannot_hold_must_be_refused() -> None:
    allow = Allowances(unstorable=lambda key: "\\" in key)
    with pytest.raises(NotConformingError, match="expected InvalidKeyError"):
        await check_backend(
            MemoryBackend(backend_config()), allow=allow, only={"names.special_ones_round_trip"}
        )


def test_checks_have_unique_names() -> None:
    names = [name for name, _ in CHECKS]
    assert len(set(names)) == len(names)
    assert {bug for _, bug in BUGS} <= set(names)
