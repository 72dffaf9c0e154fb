"""Owners and ACLs of objects: kept as they are given, or not at all."""

from __future__ import annotations

from appliance.model.errors import NoSuchKeyError, UnsupportedError
from appliance.model.objects import PutOptions
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial

OWNER, OTHER = "0123456789abcdef" * 4, "f" * 64
ACL = bytes(range(256))


async def come_and_go(trial: Trial) -> None:
    """Given with a put, changed by put_acl, gone with the next put; bytes, ETag and owner stay meanwhile."""
    if not trial.can.acls:
        await trial.put("a", b"data", owner=OWNER, acl=ACL)
        with expect.raises(UnsupportedError, what="put_acl without acls"):
            await trial.backend.put_acl(trial.bucket, trial.key("a"), ACL)
        return
    before = await trial.put("a", b"data", owner=OWNER, acl=ACL, metadata={"x": "1"})
    expect.equal((before.owner, before.acl), (OWNER, ACL), "owner and ACL told by put")
    listed = await trial.infos()
    expect.equal([info.owner for info in listed], [OWNER], "owners listed")
    info = await trial.backend.put_acl(trial.bucket, trial.key("a"), b"other")
    head = await trial.holds("a", b"data", "after put_acl")
    for one, told in ((info, "put_acl"), (head, "head")):
        expect.equal((one.owner, one.acl), (OWNER, b"other"), f"owner and ACL told by {told}")
        expect.equal(one.etag, before.etag, f"ETag told by {told} after put_acl")
    expect.equal(head.version, info.version, "version told by put_acl and by head")
    expect.true(head.version != before.version, "put_acl did not change the version token")
    expect.equal(head.metadata, {"x": "1"}, "metadata after put_acl")
    await trial.put("a", b"data")
    head = await trial.head("a")
    expect.equal((head.owner, head.acl), ("", b""), "owner and ACL after a put without any")


async def of_copies_are_their_own(trial: Trial) -> None:
    """A copy belongs to whoever made it, whatever its source and options say."""
    if not trial.can.acls:
        return
    await trial.put("a", b"data", owner=OWNER, acl=ACL)
    for options in (None, PutOptions(owner=OWNER, acl=ACL)):
        copied = await trial.backend.copy(
            trial.bucket,
            trial.key("a"),
            trial.bucket,
            trial.key("b"),
            options=options,
            owner=OTHER,
            acl=b"mine",
        )
        head = await trial.head("b")
        expect.equal((copied.owner, copied.acl), (OTHER, b"mine"), "owner and ACL told by copy")
        expect.equal((head.owner, head.acl), (OTHER, b"mine"), "owner and ACL of a copy")


async def come_with_an_upload(trial: Trial) -> None:
    """The upload tells its owner, and the object has both."""
    if not trial.can.acls:
        return
    upload = await trial.create_upload("a", owner=OWNER, acl=ACL)
    listed = await trial.backend.list_uploads(trial.bucket, prefix=trial.prefix)
    expect.equal([one.owner for one in listed.uploads], [OWNER], "owners of uploads")
    await trial.complete(upload, [await trial.put_part(upload, 1, b"part")])
    head = await trial.head("a")
    expect.equal((head.owner, head.acl), (OWNER, ACL), "owner and ACL of an uploaded object")


async def of_nothing_do_not_exist(trial: Trial) -> None:
    if not trial.can.acls:
        return
    with expect.raises(NoSuchKeyError, what="put_acl of a missing key"):
        await trial.backend.put_acl(trial.bucket, trial.key("none"), ACL)
    await trial.missing("none", "after put_acl on it")


CHECKS = (come_and_go, of_copies_are_their_own, come_with_an_upload, of_nothing_do_not_exist)
