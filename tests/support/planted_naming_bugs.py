"""The example backend with bugs about keys: storages that call things by other names, as filesystems do."""

from __future__ import annotations

import posixpath
import unicodedata

from appliance.model.objects import NO_CONDITIONS
from appliance_example.backend import MemoryBackend
from tests.support.bugs import caught_by


class Renaming(MemoryBackend):
    """Stores under another name than asked for."""

    def renamed(self, key: str) -> str:
        return key

    async def put(self, bucket, key, body, options, conditions=NO_CONDITIONS):
        return await super().put(bucket, self.renamed(key) or key, body, options, conditions)

    async def head(self, bucket, key):
        return await super().head(bucket, self.renamed(key) or key)

    async def delete(self, bucket, key, conditions=NO_CONDITIONS):
        return await super().delete(bucket, self.renamed(key) or key, conditions)


@caught_by("names.dots_round_trip")
@caught_by("names.slashes_round_trip")
class NormalisesPaths(Renaming):
    def renamed(self, key):
        return posixpath.normpath(key)


@caught_by("names.unicode_ones_round_trip")
class NormalisesUnicode(Renaming):
    def renamed(self, key):
        return unicodedata.normalize("NFC", key)


@caught_by("names.plain_ones_round_trip")
class FoldsCase(Renaming):
    def renamed(self, key):
        return key.lower()


@caught_by("names.nested_ones_coexist")
@caught_by("names.slashes_round_trip")
class StripsSlashes(Renaming):
    def renamed(self, key):
        return key.rstrip("/")


@caught_by("names.nested_ones_coexist")
class DeletesBelow(MemoryBackend):
    async def delete(self, bucket, key, conditions=NO_CONDITIONS):
        objects = self._bucket(bucket).objects
        for other in [other for other in objects if other.startswith(key + "/")]:
            del objects[other]
        await super().delete(bucket, key, conditions)
