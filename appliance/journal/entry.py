"""One row of the index: which data file holds which version of an object."""

from __future__ import annotations

import msgspec

from appliance.model.objects import ObjectInfo


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the newest `fill` of bucket/key said. `size` is the object's size in bytes, whether or not all of it is here (`complete`).

    `file` is the data file's id, `seq` the fill's number in this node's journal, `frequency` the access count last saved for the file
    (`Journal.save_access`; 0 if none was).
    """

    bucket: str
    key: str
    version: str
    file: str
    size: int
    complete: bool
    info: ObjectInfo
    seq: int
    frequency: int = 0
