"""Moving one version to another name: copy, then delete, as S3 has nothing better; and nothing that others put meanwhile is lost.

What is copied is the version that was looked up, and only that version is deleted. Who puts another one under the old name meanwhile makes
the move fail (`VersionChangedError`): the old name then has the newest, the new name at worst a copy of what was there before. The kernel
looks up again and tries once more.

A backend that deletes only unconditionally is asked right before, and everything that went through this appliance since the copy began is
known without asking; a PUT that overtakes the delete itself cannot be seen there.
"""

from __future__ import annotations

from appliance.cache.api import Cache
from appliance.model.errors import (
    NoSuchKeyError,
    PreconditionFailedError,
    UnsupportedError,
    VersionChangedError,
)
from appliance.model.objects import Conditions, ObjectInfo
from appliance.mount.recent import Recent

Name = tuple[str, str]


async def delete_version(
    cache: Cache, recent: Recent, name: Name, info: ObjectInfo, mark: int
) -> None:
    """Delete `name` while it is the version `info`, which it was at `mark`. Raises VersionChangedError where it is another by now."""
    try:
        if recent.touched(mark, *name):
            await check_version(cache, name, info)
        try:
            await cache.delete(*name, Conditions(if_match=(info.etag,)), origin="mount")
        except UnsupportedError:
            await check_version(cache, name, info)
            await cache.delete(*name, origin="mount")
        except PreconditionFailedError:
            await check_version(cache, name, info)
            raise VersionChangedError(bucket=name[0], key=name[1]) from None
    except NoSuchKeyError:
        # Somebody else has deleted it.
        return


async def check_version(cache: Cache, name: Name, info: ObjectInfo) -> None:
    """Raise VersionChangedError unless `name` is the version `info`, or NoSuchKeyError."""
    found = await cache.head(*name)
    if found.version != info.version:
        raise VersionChangedError(bucket=name[0], key=name[1])
