"""Deleting up to 1,000 objects in one DeleteObjects."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from appliance.model.errors import ApplianceError, NoSuchKeyError
from appliance_s3.failures import Where, named
from appliance_s3.names import Names
from appliance_s3.sending import Sender


async def delete_batch(
    sender: Sender, names: Names, bucket: str, keys: Sequence[str]
) -> dict[str, ApplianceError]:
    """Errors by key; what was not there is none."""
    failed: dict[str, ApplianceError] = {}
    full = {}
    for key in keys:
        try:
            full[names.written(bucket, key)["Key"]] = key
        except ApplianceError as error:
            failed[key] = error
    delete = {"Objects": [{"Key": key} for key in full], "Quiet": True}
    at = functools.partial(Where, sender.upstream.name)
    parameters = {"Bucket": bucket, "Delete": delete}
    answer = await sender.call(at("DeleteObjects", bucket), "delete_objects", parameters)
    for item in answer.get("Errors", ()):
        key = full.get(item.get("Key", ""), "")
        where = at("DELETE", bucket, key)
        reason = named(str(item.get("Code", "")), str(item.get("Message", "")), where)
        if not isinstance(reason, NoSuchKeyError):
            failed[key] = reason
    return failed
