"""What the journal records: events, numbered by the node where they happened.

An event is a fact about one name. Applied in order of `seq` they give the index (`appliance.journal.fold`): the tables are the events'
fold, and nothing else. `(origin, seq)` identifies an event in the whole cluster; `hlc` orders events for people, never for correctness.

| kind      | meaning                                                             | detail (msgpack map)                      |
|-----------|---------------------------------------------------------------------|-------------------------------------------|
| intent    | a write of bucket/key is about to reach the backend                 | {"op": str}                               |
| commit    | the write of intent `detail.intent` succeeded; version is the new one, "" for a delete | {"intent": int}; 0: none |
| abort     | the write of intent `detail.intent` is known not to have happened   | {"intent": int}                           |
| fill      | a data file holds (part of) this version; replaces an earlier fill  | {"file": str, "complete": bool, "info": ObjectInfo} |
| drop      | the data file of bucket/key is gone (evicted, replaced, corrupt)    | {"reason": str, "file": str}; see below   |
| pin       | bucket/key (a key or, ending in "/", a prefix; "" the whole bucket) is exempt from eviction | {}                |
| unpin     | takes a pin back                                                    | {}                                        |
| setting   | key names a setting of this appliance, detail holds its value       | {"value": any}; {} deletes it             |
| bucket    | key names a setting of the bucket (owner ...), detail its value; see below | {"value": bytes}; {} deletes it    |
| account   | key is an account's canonical id, detail holds its record           | {"value": map}; {} removes it             |
| access_key | key is an access key, detail its record, the secret sealed         | {"value": map}; {} removes it             |

A commit of another version than the entry's drops the entry: a committed write never leaves an older version cached.
A drop's `version` and `detail.file` are optional: where given, the drop concerns only an entry of that version and data file, so a drop
that was queued late cannot take a newer fill with it. A fill's `detail.info.key` is empty once recorded: the event has the key. A `bucket`
event without key and value deletes all settings of the bucket.
"""

from __future__ import annotations

import enum

import msgspec


class Kind(enum.StrEnum):
    """See the table above."""

    INTENT = "intent"
    COMMIT = "commit"
    ABORT = "abort"
    FILL = "fill"
    DROP = "drop"
    PIN = "pin"
    UNPIN = "unpin"
    SETTING = "setting"
    BUCKET = "bucket"
    ACCOUNT = "account"
    ACCESS_KEY = "access_key"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal. `seq` counts from 1 per origin without gaps; `hlc` is `appliance.model.hlc`'s 64-bit stamp."""

    origin: str
    seq: int
    hlc: int
    kind: Kind
    bucket: str
    key: str
    version: str = ""
    detail: bytes = b""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """An event that has not happened yet: what a caller asks the journal to append."""

    kind: Kind
    bucket: str
    key: str
    version: str = ""
    detail: dict[str, object] = {}
