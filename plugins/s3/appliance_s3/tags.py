"""Tags of objects."""

from __future__ import annotations

from typing import Any

from appliance.model.errors import NoSuchTagSetError, UnsupportedError
from appliance_s3.abilities import Abilities
from appliance_s3.failures import Where
from appliance_s3.requests import tag_set
from appliance_s3.sending import Sender


class Tags:
    """Tags at one upstream. Places are boto3's Bucket and Key."""

    def __init__(self, sender: Sender, abilities: Abilities) -> None:
        self._sender = sender
        self._abilities = abilities

    async def get(self, where: Where, place: dict[str, str]) -> dict[str, str]:
        """Does not probe: an upstream without tags says so itself."""
        found = self._abilities.features
        if found is not None and not found.tagging:
            raise self._unsupported(where)
        try:
            answer = await self._sender.call(where, "get_object_tagging", place)
        except NoSuchTagSetError:
            return {}
        return {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", ())}

    async def put(self, where: Where, place: dict[str, str], tags: dict[str, str]) -> None:
        # rclone 1.75 does not know `?tagging`: it would store the tags as the object's bytes.
        found = await self._abilities.known(place["Bucket"])
        if not found.tagging:
            raise self._unsupported(where)
        if tags:
            parameters: dict[str, Any] = {**place, "Tagging": tag_set(tags)}
            await self._sender.call(where, "put_object_tagging", parameters)
        else:
            await self._sender.call(where, "delete_object_tagging", dict(place))

    def _unsupported(self, where: Where) -> UnsupportedError:
        return UnsupportedError(
            f"The upstream of backend {where.backend} has no object tags.",
            bucket=where.bucket,
            key=where.key,
        )
