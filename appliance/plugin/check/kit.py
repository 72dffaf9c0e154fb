"""The table of checks, and what runs it.

await check_backend(backend)                                   # everything; one exception that names all that failed

@pytest.mark.parametrize(("name", "check"), CHECKS)            # or one test a check
async def test_conforms(name, check, backend):
    await run_check(backend, name, check)
"""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType

import trio

from appliance.plugin.backend import Backend
from appliance.plugin.check import (
    acls,
    buckets,
    concurrency,
    conditions,
    copies,
    failures,
    forwarding,
    history,
    life,
    listing,
    multipart,
    names,
    objects,
    ranges,
    registers,
    sharing,
    tags,
    uploads,
    versions,
)
from appliance.plugin.check.expect import ViolationError
from appliance.plugin.check.trial import Allowances, Check, open_trial

AREAS: tuple[ModuleType, ...] = (
    life,
    buckets,
    objects,
    versions,
    ranges,
    names,
    listing,
    conditions,
    copies,
    tags,
    acls,
    history,
    multipart,
    uploads,
    registers,
    forwarding,
    failures,
    concurrency,
    sharing,
)


def _checks_of(area: ModuleType) -> list[tuple[str, Check]]:
    name = area.__name__.rsplit(".", 1)[-1]
    return [(f"{name}.{check.__name__}", check) for check in area.CHECKS]


# (name, async function of a Trial) each; the name is area.function.
CHECKS: list[tuple[str, Check]] = [pair for area in AREAS for pair in _checks_of(area)]


class NotConformingError(ExceptionGroup[Exception]):
    """A backend broke rules; `str` has a line for each, the group has the exceptions with their tracebacks."""


async def check_backend(
    backend: Backend,
    *,
    bucket: str = "",
    allow: Allowances | None = None,
    seed: int = 1,
    other: Backend | None = None,
    only: Collection[str] = (),
) -> list[str]:
    """Run all checks (or those named in `only`) on a started backend; the names of those that ran. Raises NotConformingError.

    `other` is a second backend on the same storage, as another node has it: give one where there can be one.
    `bucket` is an existing bucket to work in, where the backend cannot make buckets; else every check makes and removes its own.
    Registers cannot be removed: a few small ones named `check-...` stay behind on a storage that has registers.
    """
    allow = allow or Allowances()
    unknown = {*only, *allow.gaps, *allow.sometimes} - {name for name, _ in CHECKS}
    if unknown:
        raise ValueError(f"no such check: {', '.join(sorted(unknown))}")
    chosen = [(name, check) for name, check in CHECKS if not only or name in only]
    failed: list[tuple[str, Exception]] = []
    for name, check in chosen:
        try:
            await run_check(
                backend, name, check, bucket=bucket, allow=allow, seed=seed, other=other
            )
        except Exception as error:  # noqa: BLE001  # whatever it is, the other checks go on
            failed.append((name, error))
    if failed:
        lines = [f"{name}: {_reason(error)}" for name, error in failed]
        title = f"{len(failed)} of {len(chosen)} checks failed on the backend {backend.name}"
        raise NotConformingError(
            "\n  ".join([f"{title} (seed {seed}):", *lines]), [error for _, error in failed]
        )
    return [name for name, _ in chosen]


async def run_check(
    backend: Backend,
    name: str,
    check: Check,
    *,
    bucket: str = "",
    allow: Allowances | None = None,
    seed: int = 1,
    other: Backend | None = None,
) -> None:
    """Run one check. Raises ViolationError, or what the backend raised."""
    allow = allow or Allowances()
    reason = allow.gaps.get(name)
    try:
        with trio.move_on_after(allow.timeout_s) as scope:
            async with open_trial(
                backend, name, bucket=bucket, allow=allow, seed=seed, other=other
            ) as one:
                await check(one)
        if scope.cancelled_caught:
            _too_slow(allow.timeout_s)
    except Exception:
        if reason is None and name not in allow.sometimes:
            raise
        return
    if reason is not None:
        raise ViolationError(f"passes, but is listed as a gap ({reason}): remove it from the gaps")


def _too_slow(timeout_s: float) -> None:
    raise ViolationError(f"not done after {timeout_s:g} s")


def _reason(error: BaseException) -> str:
    """The first exception that is not a group of others, as a sentence."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, ViolationError) else f"{type(error).__name__}: {error}"
