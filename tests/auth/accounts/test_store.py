"""The live accounts on a real journal: what is answered, what survives, what is kept from whom."""

from __future__ import annotations

import os

import pytest
import trio
import trio.testing

from appliance.auth.accounts import AccountStore
from appliance.auth.accounts.commands import (
    Add,
    Done,
    Issued,
    List,
    Listed,
    Modify,
    Pair,
    Refused,
    Remove,
    Rotate,
    Switch,
)
from appliance.auth.accounts.plan import KEYS_MAX
from appliance.auth.identity import Role
from appliance.auth.sealing import Sealer
from appliance.model.errors import ConfigError
from appliance.world import RealWorld
from tests.support.accounts import ROOT, account_store


@pytest.fixture
async def store(tmp_path):
    async with account_store(tmp_path) as store:
        yield store


async def add(store, name="alice", **fields) -> Issued:
    issued = await store.perform(Add(name=name, **fields))
    assert isinstance(issued, Issued)
    return issued


async def view(store, name="alice"):
    listed = await store.perform(List(name=name))
    assert isinstance(listed, Listed)
    (account,) = listed.accounts
    return account


async def test_a_new_account_has_an_id_a_name_a_role_and_one_key_that_works_at_once(store):
    issued = await add(store, role=Role.READONLY, email="a@example.org", uid=1000, gids=(100, 27))
    found = store.lookup(issued.access_key)
    assert found.secret_key == issued.secret_key
    identity = found.identity
    assert (identity.display_name, identity.role, identity.root) == ("alice", Role.READONLY, False)
    assert (identity.uid, identity.gids) == (1000, (100, 27))
    assert len(identity.account_id) == 64
    assert store.account(identity.account_id) == store.named("alice")
    assert store.with_email("A@Example.org") == store.named("alice")
    assert len(issued.access_key) == 20
    assert len(issued.secret_key) == 40


async def test_the_root_is_there_and_is_not_changed_here(store):
    root = store.named("root")
    assert root.root
    assert store.lookup(ROOT.access_key) is ROOT
    assert store.account(ROOT.identity.account_id) == root
    for command in (
        Switch(name="root", disabled=True),
        Rotate(name="root"),
        Remove(name="root"),
        Add(name="root"),
        Add(name="other", account_id=root.account_id),
        Add(name="other", pair=Pair(access_key=ROOT.access_key)),
    ):
        with pytest.raises(ConfigError):
            await store.perform(command)
    assert store.lookup(ROOT.access_key) is ROOT


async def test_lookups_answer_with_the_same_object_until_something_changes(store):
    issued = await add(store)
    before = store.lookup(issued.access_key)
    await add(store, "bob")
    assert store.lookup(issued.access_key) is before


async def test_a_disabled_account_has_no_working_key_and_keeps_its_name(store):
    issued = await add(store)
    await store.perform(Switch(name="alice", disabled=True))
    assert store.lookup(issued.access_key) is None
    assert store.named("alice").disabled
    await store.perform(Switch(name="alice", disabled=False))
    assert store.lookup(issued.access_key).secret_key == issued.secret_key


async def test_a_key_is_disabled_without_the_others(store):
    first = await add(store)
    second = await store.perform(Rotate(name="alice", keep=True))
    await store.perform(Switch(name="alice", access_key=first.access_key, disabled=True))
    assert store.lookup(first.access_key) is None
    assert store.lookup(second.access_key) is not None
    # Enabling the account leaves the key as it was set.
    await store.perform(Switch(name="alice", disabled=True))
    await store.perform(Switch(name="alice", disabled=False))
    assert store.lookup(first.access_key) is None
    assert [key.disabled for key in (await view(store)).keys] == [True, False]


async def test_rotation_replaces_all_keys_or_one_or_none(store):
    first = await add(store)
    second = await store.perform(Rotate(name="alice", keep=True))
    assert second.retired == ()
    third = await store.perform(Rotate(name="alice", access_key=first.access_key))
    assert third.retired == (first.access_key,)
    assert {key.access_key for key in (await view(store)).keys} == {
        second.access_key,
        third.access_key,
    }
    last = await store.perform(Rotate(name="alice"))
    assert set(last.retired) == {second.access_key, third.access_key}
    assert [key.access_key for key in (await view(store)).keys] == [last.access_key]
    for gone in (first, second, third):
        assert store.lookup(gone.access_key) is None


async def test_an_account_changes_and_keeps_its_id_and_keys(store):
    issued = await add(store, email="a@example.org", uid=7, gids=(8,))
    before = store.lookup(issued.access_key)
    await store.perform(Modify(name="alice", role=Role.ADMIN))
    after = store.lookup(issued.access_key).identity
    assert (after.role, after.uid, after.gids) == (Role.ADMIN, 7, (8,))
    assert after.account_id == before.identity.account_id
    await store.perform(Modify(name="alice", user=(9, 10, 11), email=""))
    assert (await view(store)).email == ""
    assert store.with_email("a@example.org") is None
    assert store.lookup(issued.access_key).identity.gids == (10, 11)
    await store.perform(Modify(name="alice", user=()))
    assert store.lookup(issued.access_key).identity.uid is None
    done = await store.perform(Modify(name="alice", role=Role.ADMIN))
    assert done.sentence == "Account alice is so already."
    await add(store, "bob", email="b@example.org")
    for command, reason in (
        (Modify(name="alice", email="B@example.org"), "that of account bob"),
        (Modify(name="alice", email="x"), "not an e-mail"),
        (Modify(name="alice", user=(5,)), "needs a group id"),
        (Modify(name="alice", user=(5, -1)), "between 0 and"),
        (Modify(name="root", role=Role.USER), "comes from the configuration"),
    ):
        refused = await store.answer(command)
        assert reason in refused.reason
    await store.perform(Modify(name="bob", email="B@example.org"))  # one's own, spelled anew


async def test_an_account_has_so_many_keys_at_most(store):
    await add(store)
    for _ in range(KEYS_MAX - 1):
        await store.perform(Rotate(name="alice", keep=True))
    with pytest.raises(ConfigError, match="remove one first"):
        await store.perform(Rotate(name="alice", keep=True))
    replaced = await store.perform(Rotate(name="alice"))
    assert len(replaced.retired) == KEYS_MAX


async def test_what_is_removed_is_gone_and_its_name_is_free_again(store):
    first = await add(store, email="a@example.org")
    await store.perform(Rotate(name="alice", keep=True))
    done = await store.perform(Remove(name="alice", access_key=first.access_key))
    assert isinstance(done, Done)
    assert store.lookup(first.access_key) is None
    await store.perform(Remove(name="alice"))
    assert store.named("alice") is None
    assert store.with_email("a@example.org") is None
    again = await add(store, email="a@example.org")
    assert again.account_id != first.account_id


async def test_keys_may_be_given(store):
    pair = Pair(access_key="GIVENKEY", secret_key="given-secret-key")
    issued = await add(store, pair=pair, account_id="ab" * 32)
    assert (issued.access_key, issued.secret_key) == ("GIVENKEY", "given-secret-key")
    assert store.lookup("GIVENKEY").identity.account_id == "ab" * 32
    with pytest.raises(ConfigError, match="in use already"):
        await add(store, "bob", pair=pair)
    with pytest.raises(ConfigError, match="exists already"):
        await add(store, "bob", account_id="ab" * 32)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": ""}, "name '' is not valid"),
        ({"name": "a/b"}, "not valid"),
        ({"name": " a"}, "not valid"),
        ({"name": "x" * 65}, "not valid"),
        ({"name": "ab" * 32}, "looks like a canonical id"),
        ({"name": "AB" * 32}, "looks like a canonical id"),
        ({"name": "a", "email": "nobody"}, "not an e-mail address"),
        ({"name": "a", "account_id": "AB" * 32}, "64 hexadecimal digits"),
        ({"name": "a", "uid": 5}, "needs a group id"),
        ({"name": "a", "gids": (5,)}, "need a user id"),
        ({"name": "a", "uid": -1, "gids": (5,)}, "between 0 and"),
        ({"name": "a", "uid": 1, "gids": (2**32 - 1,)}, "between 0 and"),
        ({"name": "a", "pair": Pair(access_key="a b")}, "access key 'a b' is not valid"),
        ({"name": "a", "pair": Pair(access_key="AKX", secret_key="short")}, "'AKX' is not valid"),
    ],
)
async def test_impossible_accounts_are_refused_with_a_reason(store, fields, reason):
    refused = await store.answer(Add(**fields))
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert len((await store.perform(List())).accounts) == 1  # the root


async def test_names_and_addresses_are_one_accounts(store):
    await add(store, email="a@example.org")
    for command, reason in (
        (Add(name="alice"), "already"),
        (Add(name="bob", email="A@example.org"), "that of account alice"),
        (Switch(name="bob", disabled=True), "no account bob"),
        (Rotate(name="alice", access_key="AKNOBODY"), "no access key AKNOBODY"),
        (Remove(name="alice", access_key="AKNOBODY"), "no access key AKNOBODY"),
        (Switch(name="alice", access_key=ROOT.access_key, disabled=True), "no access key"),
        (List(name="bob"), "no account bob"),
    ):
        refused = await store.answer(command)
        assert isinstance(refused, Refused)
        assert reason in refused.reason


async def test_everything_survives_a_restart(tmp_path):
    async with account_store(tmp_path) as store:
        alice = await add(store, email="a@example.org", uid=7, gids=(7,))
        bob = await add(store, "bob", role=Role.ADMIN)
        await store.perform(Switch(name="bob", disabled=True))
        carol = await add(store, "carol")
        await store.perform(Remove(name="carol"))
        store.uses[alice.access_key] = 1_700_000_000
        before = await store.perform(List())
    async with account_store(tmp_path) as store:
        assert await store.perform(List()) == before
        assert store.lookup(alice.access_key).secret_key == alice.secret_key
        assert store.lookup(bob.access_key) is None
        assert store.lookup(carol.access_key) is None
        assert (await view(store)).keys[0].used_ns == 1_700_000_000 * 10**9


async def test_last_uses_of_removed_keys_are_forgotten(tmp_path):
    async with account_store(tmp_path) as store:
        issued = await add(store)
        store.uses[issued.access_key] = 5
        store.save_uses()
        await store.perform(Rotate(name="alice"))
    async with account_store(tmp_path) as store:
        assert dict(store.uses) == {}


async def test_no_secret_is_in_the_journal_or_the_log(tmp_path, caplog):
    caplog.set_level("DEBUG")
    async with account_store(tmp_path) as store:
        issued = await add(store, pair=Pair(secret_key="a-very-recognisable-secret"))
        rotated = await store.perform(Rotate(name="alice"))
        assert "recognisable" not in repr(issued) + repr(Pair(secret_key="recognisable"))
        held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"recognisable" not in held
    assert rotated.secret_key.encode() not in held
    assert "recognisable" not in caplog.text
    assert rotated.secret_key not in caplog.text
    assert f"add alice ({issued.access_key})" in caplog.text


async def test_another_cluster_secret_is_noticed_and_its_keys_can_be_replaced(tmp_path):
    async with account_store(tmp_path) as store:
        issued = await add(store)
        store.check_readable()
    async with account_store(tmp_path, cluster_secret="x" * 32) as store:
        with pytest.raises(ConfigError, match="another cluster secret") as caught:
            store.check_readable()
        assert issued.access_key in str(caught.value)
        assert store.lookup(issued.access_key) is None
        await store.perform(Rotate(name="alice"))
        store.check_readable()


async def test_commands_at_the_same_time_are_planned_one_after_the_other(store):
    answers = []

    async def one():
        answers.append(await store.answer(Add(name="alice")))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(one)
    assert sorted(type(answer).__name__ for answer in answers) == ["Issued"] + ["Refused"] * 7


async def test_a_cancelled_command_takes_effect_whole_or_not_at_all(store):
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.perform(Add(name="alice"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.answer, Add(name="bob"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await add(store, "carol")  # whatever was queued before is in the journal and in memory now
    for name in ("alice", "bob"):
        account = store.named(name)
        assert account is None or len((await view(store, name)).keys) == 1


async def test_statistics_count(store):
    issued = await add(store)
    await store.perform(Switch(name="alice", access_key=issued.access_key, disabled=True))
    assert store.statistics() == {
        "accounts": 1,
        "usable_keys": 1,
        "unreadable_keys": 0,
        "changes_total": 2,
    }


class MemoryLedger:
    """A journal that forgets everything but what the test looks at."""

    def __init__(self) -> None:
        self.saved: list[dict[str, int]] = []

    async def append(self, *changes):
        raise AssertionError("nothing changes here")

    def subscribe(self, listener):
        pass

    def values(self, kind):
        return {}

    def key_uses(self):
        return {"AK": 5}

    def save_key_uses(self, uses):
        self.saved.append(dict(uses))


async def test_last_uses_are_saved_every_minute_if_there_are_new_ones_and_at_the_end(
    autojump_clock,
):
    ledger = MemoryLedger()
    store = AccountStore(ledger, ROOT, Sealer("s" * 32, os.urandom), RealWorld())
    store.load()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await trio.sleep(150)
        assert ledger.saved == []  # nobody came
        store.uses["AK"] = 6
        await trio.sleep(150)
        assert ledger.saved == [{"AK": 6}]
        store.uses["AK"] = 7
        nursery.cancel_scope.cancel()
    assert ledger.saved == [{"AK": 6}, {"AK": 7}]
