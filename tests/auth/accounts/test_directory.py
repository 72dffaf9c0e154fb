"""Accounts in memory, fed in any order: two nodes' changes may arrive interleaved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.auth.accounts.directory import Directory
from appliance.auth.accounts.records import AccountRecord, KeyRecord, decode, key_change
from appliance.auth.credentials import make_credentials
from appliance.auth.identity import Role
from appliance.model.errors import JournalError

ROOT = make_credentials("AKROOT", "root-secret-key")
IDS = ("a" * 64, "b" * 64)

ACCOUNTS = st.none() | st.builds(
    AccountRecord,
    name=st.sampled_from(["alice", "bob", "root"]),
    role=st.sampled_from(Role),
    email=st.sampled_from(["", "x@example.org"]),
    disabled=st.booleans(),
)
KEYS = st.none() | st.builds(
    KeyRecord, account=st.sampled_from(IDS), sealed=st.just(b"s"), disabled=st.booleans()
)
STEPS = st.lists(
    st.tuples(st.just("account"), st.sampled_from(IDS), ACCOUNTS)
    | st.tuples(st.just("key"), st.sampled_from(["AK1", "AK2", ROOT.access_key]), KEYS),
    max_size=12,
)


def unseal(access_key: str, record: KeyRecord) -> str:
    return f"secret of {access_key}"


@given(STEPS)
def test_a_key_works_exactly_while_it_and_its_account_are_there_and_enabled(steps):
    directory = Directory(ROOT, unseal)
    accounts, keys = {}, {}
    for kind, name, record in steps:
        if kind == "account":
            directory.put_account(name, record)
            accounts[name] = record
        else:
            directory.put_key(name, record)
            keys[name] = record
    for access_key in ("AK1", "AK2"):
        key = keys.get(access_key)
        account = accounts.get(key.account) if key else None
        found = directory.lookup(access_key)
        if key is None or account is None or key.disabled or account.disabled:
            assert found is None
        else:
            assert found.identity.account_id == key.account
            assert (found.identity.display_name, found.identity.role) == (
                account.name,
                account.role,
            )
    assert directory.lookup(ROOT.access_key) is ROOT
    assert directory.named("root").root
    for account_id, record in accounts.items():
        assert (directory.account(account_id) is not None) == (record is not None)
        assert {name for name, _ in directory.keys_of(account_id)} == {
            name for name, key in keys.items() if key and key.account == account_id
        }


def test_names_lead_to_somebody_who_bears_them():
    directory = Directory(ROOT, unseal)
    for account_id in IDS:
        directory.put_account(
            account_id, AccountRecord(name="alice", role=Role.USER, email="x@example.org")
        )
    for gone, left in (IDS, reversed(IDS)):
        record = directory.account(gone)
        directory.put_account(gone, None)
        assert directory.named(record.display_name).account_id == left
        assert directory.with_email("X@example.org").account_id == left
        directory.put_account(
            gone, AccountRecord(name="alice", role=Role.USER, email="x@example.org")
        )


def test_a_record_that_cannot_be_read_is_said_so():
    with pytest.raises(JournalError, match="cannot read"):
        decode({"name": "alice", "role": "emperor"}, AccountRecord)


def test_records_travel_through_an_event_unchanged():
    record = KeyRecord(account=IDS[0], sealed=b"\x00\xff", disabled=True, created_ns=5)
    assert decode(key_change("AK", record).detail["value"], KeyRecord) == record
