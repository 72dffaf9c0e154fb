"""Deleting up to 1,000 objects and versions in one DeleteObjects."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.model.errors import (
    ApplianceError,
    BackendError,
    InvalidArgumentError,
    NoSuchKeyError,
    NoSuchVersionError,
)
from appliance.model.objects import Deleted, DeleteOutcome, DeleteTarget
from appliance.plugin import BYPASS_GOVERNANCE
from appliance_s3.failures import Where, named
from appliance_s3.names import Names
from appliance_s3.sending import Sender

_NOTHING_THERE = (NoSuchKeyError, NoSuchVersionError)
Named = tuple[str, str]  # key as it is upstream, version id


async def delete_batch(
    sender: Sender, names: Names, bucket: str, targets: Sequence[DeleteTarget]
) -> list[DeleteOutcome]:
    """An outcome a target, in order; what was not there is no error."""
    failed: dict[DeleteTarget, ApplianceError] = {}
    sent: dict[DeleteTarget, Named] = {}
    for target in targets:
        try:
            sent[target] = (names.written(bucket, target.key)["Key"], target.version_id)
        except ApplianceError as error:
            failed[target] = error
    at = functools.partial(Where, sender.upstream.name)
    objects = [
        {"Key": key, **({"VersionId": version_id} if version_id else {})}
        for key, version_id in dict.fromkeys(sent.values())
    ]
    if not objects:
        return [_outcome(target, failed.get(target), {}) for target in targets]
    parameters = {
        "Bucket": bucket,
        "Delete": {"Objects": objects, "Quiet": False},
        **bypass(),
    }
    answer = await sender.call(at("DeleteObjects", bucket), "delete_objects", parameters)
    done = _by_name(answer.get("Deleted", ()))
    refused = _by_name(answer.get("Errors", ()))
    for target, name in sent.items():
        if name in refused:
            failed[target] = _reason(refused[name], at("DELETE", bucket, target.key))
        elif name not in done:
            failed[target] = BackendError(bucket=bucket, key=target.key)
    return [
        _outcome(target, failed.get(target), done.get(sent.get(target, ("", "")), {}))
        for target in targets
    ]


def bypass() -> dict[str, bool]:
    """The parameter of both deletes that goes past a retention, if whoever asks may and wants to."""
    return {"BypassGovernanceRetention": True} if BYPASS_GOVERNANCE.get() else {}


def _by_name(items: Sequence[Mapping[str, Any]]) -> dict[Named, Mapping[str, Any]]:
    return {(item.get("Key", ""), item.get("VersionId", "")): item for item in items}


def _reason(item: Mapping[str, Any], where: Where) -> ApplianceError:
    return named(str(item.get("Code", "")), str(item.get("Message", "")), where)


def _outcome(
    target: DeleteTarget, error: ApplianceError | None, item: Mapping[str, Any]
) -> DeleteOutcome:
    # A version id that no upstream gave is as good as one that is gone already.
    gone = isinstance(error, _NOTHING_THERE) or (
        bool(target.version_id) and isinstance(error, InvalidArgumentError)
    )
    marker = bool(item.get("DeleteMarker"))
    version_id = item.get("DeleteMarkerVersionId", "") if marker else target.version_id
    return DeleteOutcome(
        key=target.key,
        version_id=target.version_id,
        error=None if gone else error,
        deleted=Deleted(version_id=version_id, delete_marker=marker),
    )
