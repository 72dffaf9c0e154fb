"""The `detail` of an event: what each kind holds, checked before it is queued, so that a commit cannot fail on it.

Unknown fields are kept and ignored: a caller may add what only people read. Two exceptions to "as given": a fill's `info.key` is stored
empty (the event has the key; and keys that are not UTF-8 do not fit into msgpack), and limits hold for every input.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import msgspec

from appliance.journal.entry import Entry
from appliance.model.errors import JournalError
from appliance.model.events import Change, Event, Kind
from appliance.model.names import KEY_BYTES_MAX, key_bytes
from appliance.model.objects import ObjectInfo

NAME_BYTES_MAX = 1024  # bucket, version
INTEGER_MAX = 2**63 - 1  # SQLite's
DETAIL_BYTES_MAX = 8 * 1024**2  # 10,000 parts with checksums are about 1.5 MB


class IntentDetail(msgspec.Struct, frozen=True):
    """`op`: for people."""

    op: str = ""


class OutcomeDetail(msgspec.Struct, frozen=True):
    """`intent`: seq of the origin's intent; 0 where there was none."""

    intent: Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)] = 0


class FillDetail(msgspec.Struct, frozen=True):
    """`file`: id of the data file."""

    file: str
    complete: bool
    info: ObjectInfo


class DropDetail(msgspec.Struct, frozen=True):
    """`file`, if given: drop only an entry that uses this data file."""

    reason: str = ""
    file: str = ""


class SettingDetail(msgspec.Struct, frozen=True):
    """No value: the setting is deleted."""

    value: Any = msgspec.UNSET


class BucketDetail(msgspec.Struct, frozen=True):
    """No value: the setting is deleted; and all settings of the bucket where the event names none."""

    value: bytes | msgspec.UnsetType = msgspec.UNSET


class RecordDetail(msgspec.Struct, frozen=True):
    """No value: the account or key is gone. What a record holds is its owner's business (`appliance.auth.accounts.records`)."""

    value: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class NoDetail(msgspec.Struct, frozen=True):
    """Pins say all by their name."""


DECODERS: dict[Kind, msgspec.msgpack.Decoder[Any]] = {
    Kind.INTENT: msgspec.msgpack.Decoder(IntentDetail),
    Kind.COMMIT: msgspec.msgpack.Decoder(OutcomeDetail),
    Kind.ABORT: msgspec.msgpack.Decoder(OutcomeDetail),
    Kind.FILL: msgspec.msgpack.Decoder(FillDetail),
    Kind.DROP: msgspec.msgpack.Decoder(DropDetail),
    Kind.PIN: msgspec.msgpack.Decoder(NoDetail),
    Kind.UNPIN: msgspec.msgpack.Decoder(NoDetail),
    Kind.SETTING: msgspec.msgpack.Decoder(SettingDetail),
    Kind.BUCKET: msgspec.msgpack.Decoder(BucketDetail),
    Kind.ACCOUNT: msgspec.msgpack.Decoder(RecordDetail),
    Kind.ACCESS_KEY: msgspec.msgpack.Decoder(RecordDetail),
}
_ENCODER = msgspec.msgpack.Encoder()
_EMPTY = _ENCODER.encode({})


class Draft(NamedTuple):
    """A checked change, ready to be numbered and stored. `key` as bytes, `detail` as msgpack."""

    kind: Kind
    bucket: str
    key: bytes
    version: str
    detail: bytes

    @property
    def size_bytes(self) -> int:
        """Roughly what it costs to hold."""
        return 200 + len(self.bucket) + len(self.key) + len(self.version) + len(self.detail)


def draft(change: Change) -> Draft:
    """Check and encode a change. Raises JournalError with what is wrong with it."""
    version, detail = change.version, change.detail
    if change.kind is Kind.FILL:
        version, detail = _normal_fill(change)
    try:
        key = key_bytes(change.key)
        encoded = _ENCODER.encode(detail) if detail else _EMPTY
        DECODERS[change.kind].decode(encoded)
        name_bytes = max(len(change.bucket.encode()), len(version.encode()))
    except (msgspec.MsgspecError, UnicodeError, TypeError, OverflowError) as error:
        raise _refused(change, str(error)) from error
    if len(key) > KEY_BYTES_MAX or name_bytes > NAME_BYTES_MAX or len(encoded) > DETAIL_BYTES_MAX:
        raise _refused(change, "it is longer than the journal allows")
    return Draft(change.kind, change.bucket, key, version, encoded)


def _normal_fill(change: Change) -> tuple[str, dict[str, object]]:
    info = change.detail.get("info")
    if not isinstance(info, ObjectInfo):
        raise _refused(change, "detail.info must be an ObjectInfo")
    if change.version not in {"", info.version}:
        raise _refused(change, "its version differs from detail.info.version")
    if not 0 <= info.size <= INTEGER_MAX:
        raise _refused(change, f"the size {info.size} is impossible")
    return info.version, {**change.detail, "info": msgspec.structs.replace(info, key="")}


def _refused(change: Change, reason: str) -> JournalError:
    return JournalError(
        f"The journal cannot record {change.kind} of {change.bucket!r}/{change.key[:64]!r}: {reason}.",
        bucket=change.bucket,
        key=change.key,
    )


def decode(event: Event) -> Any:
    """The detail as the struct of its kind. Raises msgspec.DecodeError or ValidationError if it is none."""
    return DECODERS[event.kind].decode(event.detail or _EMPTY)


def entry_of(event: Event, frequency: int = 0) -> Entry:
    """The entry that a fill makes."""
    return make_entry(event.bucket, event.key, event.version, event.seq, event.detail, frequency)


_decode_fill = msgspec.msgpack.Decoder(FillDetail).decode


def make_entry(
    bucket: str, key: str, version: str, seq: int, detail: bytes, frequency: int
) -> Entry:
    """As `entry_of`, from the columns."""
    fill = _decode_fill(detail)
    info = msgspec.structs.replace(fill.info, key=key)
    return Entry(
        bucket=bucket,
        key=key,
        version=version,
        file=fill.file,
        size=info.size,
        complete=fill.complete,
        info=info,
        seq=seq,
        frequency=frequency,
    )
