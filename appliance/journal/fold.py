"""What events mean: the pure definition of the index. `apply.py` does the same in SQL; tests and `verify` hold the two together.

One rule a kind. No rule fails: an event about something that is not there changes nothing. That makes compaction exact: an old event
may go once no row rests on it, because whatever undid it is either newer and still there, or had nothing left to undo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from appliance.journal.details import decode, entry_of
from appliance.journal.entry import Entry
from appliance.model.events import Event, Kind

Name = tuple[str, str]  # bucket, key


class State(msgspec.Struct):
    """The tables. `intents` by (origin, seq), `settings`, `accounts` and `access_keys` by name, `bucket_settings` by bucket and name;
    each value but an entry is the event that made it.
    """

    entries: dict[Name, Entry] = msgspec.field(default_factory=dict)
    intents: dict[tuple[str, int], Event] = msgspec.field(default_factory=dict)
    pins: dict[Name, Event] = msgspec.field(default_factory=dict)
    settings: dict[str, Event] = msgspec.field(default_factory=dict)
    bucket_settings: dict[Name, Event] = msgspec.field(default_factory=dict)
    accounts: dict[str, Event] = msgspec.field(default_factory=dict)
    access_keys: dict[str, Event] = msgspec.field(default_factory=dict)

    def copy(self) -> State:
        return State(**{name: dict(getattr(self, name)) for name in self.__struct_fields__})


def fold(state: State, events: Iterable[Event]) -> State:
    """The state after `events`, in the order given; `state` itself is left as it was. Raises msgspec.MsgspecError on a bad detail."""
    result = state.copy()
    for event in events:
        RULES[event.kind](result, event)
    return result


def _intent(state: State, event: Event) -> None:
    state.intents[event.origin, event.seq] = event


def _commit(state: State, event: Event) -> None:
    state.intents.pop((event.origin, decode(event).intent), None)
    entry = state.entries.get((event.bucket, event.key))
    if entry is not None and entry.version != event.version:
        del state.entries[event.bucket, event.key]


def _abort(state: State, event: Event) -> None:
    state.intents.pop((event.origin, decode(event).intent), None)


def _fill(state: State, event: Event) -> None:
    state.entries[event.bucket, event.key] = entry_of(event)


def _drop(state: State, event: Event) -> None:
    entry = state.entries.get((event.bucket, event.key))
    if (
        entry is not None
        and event.version in {"", entry.version}
        and decode(event).file in {"", entry.file}
    ):
        del state.entries[event.bucket, event.key]


def _pin(state: State, event: Event) -> None:
    state.pins[event.bucket, event.key] = event


def _unpin(state: State, event: Event) -> None:
    state.pins.pop((event.bucket, event.key), None)


def _put(table: dict[str, Event], event: Event) -> None:
    """The newest event of a name with a value."""
    if decode(event).value is msgspec.UNSET:
        table.pop(event.key, None)
    else:
        table[event.key] = event


def _setting(state: State, event: Event) -> None:
    _put(state.settings, event)


def _account(state: State, event: Event) -> None:
    _put(state.accounts, event)


def _access_key(state: State, event: Event) -> None:
    _put(state.access_keys, event)


def _bucket(state: State, event: Event) -> None:
    if decode(event).value is not msgspec.UNSET:
        state.bucket_settings[event.bucket, event.key] = event
        return
    for name in [name for name in state.bucket_settings if name[0] == event.bucket]:
        if event.key in {"", name[1]}:
            del state.bucket_settings[name]


RULES: dict[Kind, Callable[[State, Event], None]] = {
    Kind.INTENT: _intent,
    Kind.COMMIT: _commit,
    Kind.ABORT: _abort,
    Kind.FILL: _fill,
    Kind.DROP: _drop,
    Kind.PIN: _pin,
    Kind.UNPIN: _unpin,
    Kind.SETTING: _setting,
    Kind.BUCKET: _bucket,
    Kind.ACCOUNT: _account,
    Kind.ACCESS_KEY: _access_key,
}
