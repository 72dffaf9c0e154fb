"""Random S3 requests by two accounts against the reference: the same machine in front of every kind of backend."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.node import Node
from tests.support.s3_reference import (
    PART_MIN,
    STATUS,
    Bucket,
    Reference,
    Refused,
    Upload,
    Version,
)
from tests.support.s3_requests import Answer, Keys, Requests

pytestmark = pytest.mark.real

T = TypeVar("T")
NAMES = ("alice", "bob")
KEYS = ("a", "dir/b", "dir/ü +&%")
MULTIPART = ("a", "dir/b")

STEPS = 40
# What a backend may lack: then it says so.
VERSIONS = "versions"
CONDITIONAL_COMPLETE = "conditional complete"
MARKERS = "to tell a delete marker by its id from nothing"
NULL_IDS = "to tell the id of a null version with it"
CONDITIONAL_VERSIONS = "conditional put where there are versions"

_numbers = itertools.count()

who_s = st.sampled_from(NAMES)
owners = st.sampled_from(NAMES)
keys = st.sampled_from(KEYS)
# Mostly what exists; sometimes anything.
picks = st.integers(0, 7)
conditions_s = st.sampled_from(["", "", "absent", "current", "stale"])


class Machine(RuleBasedStateMachine):
    """Every rule sends one request, and asks the reference what it had to answer."""

    def __init__(self, accounts: dict[str, Requests], lacks: frozenset[str]) -> None:
        super().__init__()
        self.accounts = accounts
        self.lacks = lacks
        self.reference = Reference()
        self.number = next(_numbers)
        self.count = 0
        self.uploads: list[tuple[str, Upload]] = []
        self.version_ids: list[tuple[str, str, str]] = []

    # --- what rules are made of ---------------------------------------------------

    def bucket(self, owner: str) -> str:
        return f"{owner}-{self.number}"

    def ask(self, who: str, method: str, bucket: str, key: str = "", **request) -> Answer:
        path = f"/{bucket}/{key}" if key else f"/{bucket}"
        return self.accounts[who].ask(method, path, **request)

    def judge(self, answer: Answer, decide: Callable[[], T]) -> T | None:
        """What the reference says of a request that succeeded; None if it had to fail, and did so in the right way."""
        try:
            result = decide()
        except Refused as refused:
            codes = refused.codes
            if MARKERS in self.lacks and not {"InvalidRequest", "MethodNotAllowed"}.isdisjoint(
                codes
            ):
                codes = (*codes, "NoSuchVersion")
        else:
            assert answer.status in {200, 204}, answer
            assert answer.code == "", answer
            return result
        # HEAD has no document to tell the code in.
        code = answer.code or (codes[0] if answer.request.startswith("HEAD ") else "")
        assert code in codes, answer
        assert answer.status == STATUS[code], answer
        return None

    def is_open(self, bucket: str, upload: Upload) -> bool:
        return any(upload is one for one in self.reference.buckets[bucket].uploads)

    def body(self) -> bytes:
        """Bytes that were never sent before."""
        self.count += 1
        return b"%d of %d" % (self.count, self.number)

    def conditions(self, kind: str, bucket: str, key: str) -> dict[str, str]:
        current = self.reference.buckets[bucket].current(key)
        if kind == "absent":
            return {"if-none-match": "*"}
        if kind == "current":
            return {"if-match": current.etag if current else "0" * 32}
        return {"if-match": "f" * 32} if kind == "stale" else {}

    def learn(self, bucket: str, key: str, version: Version, answer: Answer) -> None:
        """The version id that the server gave; unversioned buckets have none."""
        place = self.reference.buckets[bucket]
        told = answer.headers.get("x-amz-version-id", "")
        if place.versioning == "Enabled":
            assert told not in {"", "null"}, answer
            assert told not in place.ids, answer
            version.id = told
            place.ids.add(told)
            self.version_ids.append((bucket, key, told))
        elif place.versioning == "Suspended" and not version.marker:
            assert told in {"", "null"}, answer
        else:
            assert told == version.id, answer

    def version_of(self, pick: int, bucket: str, key: str) -> str:
        """An id that `key` has or had, or none."""
        ids = [found for place, name, found in self.version_ids if (place, name) == (bucket, key)]
        if self.reference.buckets[bucket].versioning:
            ids.append("null")
        return ids[-pick] if 0 < pick <= len(ids) else ""

    @initialize()
    def make_buckets(self) -> None:
        for name in NAMES:
            headers = {"x-amz-object-ownership": "BucketOwnerEnforced"}
            answer = self.ask(name, "PUT", self.bucket(name), headers=headers)
            assert answer.status == 200, answer
            self.reference.buckets[self.bucket(name)] = Bucket(name)

    # --- objects --------------------------------------------------------------------

    @rule(who=who_s, owner=owners, key=keys, kind=conditions_s, named=st.booleans())
    def put(self, who: str, owner: str, key: str, kind: str, named: bool) -> None:
        bucket, body = self.bucket(owner), self.body()
        conditions = self.conditions(kind, bucket, key)
        metadata = {"n": str(self.count)} if named else {}
        headers = conditions | {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        answer = self.ask(who, "PUT", bucket, key, body=body, headers=headers)

        def decide() -> Version:
            versions = conditions and self.reference.buckets[bucket].versioning
            if versions and CONDITIONAL_VERSIONS in self.lacks and answer.status == 501:
                self.reference.allow(who, bucket)
                raise Refused("NotImplemented")
            return self.reference.put(who, bucket, key, body, conditions, metadata)

        made = self.judge(answer, decide)
        if made:
            assert answer.etag == made.etag
            self.learn(bucket, key, made, answer)

    @rule(
        who=who_s,
        owner=owners,
        key=keys,
        pick=picks,
        method=st.sampled_from(["GET", "GET", "HEAD"]),
    )
    def get(self, who: str, owner: str, key: str, pick: int, method: str) -> None:
        bucket = self.bucket(owner)
        version_id = self.version_of(pick, bucket, key)
        query = {"versionId": version_id} if version_id else None
        answer = self.ask(who, method, bucket, key, query=query)
        found = self.judge(answer, lambda: self.reference.get(who, bucket, key, version_id))
        if found:
            assert answer.etag == found.etag
            assert method == "HEAD" or answer.body == found.body
            assert int(answer.headers["content-length"]) == len(found.body)
            unsaid = {""} if NULL_IDS in self.lacks and found.id == "null" else set()
            assert answer.headers.get("x-amz-version-id", "") in {found.id, *unsaid}
            assert {
                name.removeprefix("x-amz-meta-"): value
                for name, value in answer.headers.items()
                if name.startswith("x-amz-meta-")
            } == found.metadata
            assert int(answer.headers.get("x-amz-tagging-count", "0")) == len(found.tags)

    @rule(who=who_s, owner=owners, key=keys, pick=picks)
    def delete(self, who: str, owner: str, key: str, pick: int) -> None:
        bucket = self.bucket(owner)
        version_id = self.version_of(pick, bucket, key)
        query = {"versionId": version_id} if version_id else None
        answer = self.ask(who, "DELETE", bucket, key, query=query)
        gone = self.judge(answer, lambda: self.reference.delete(who, bucket, key, version_id))
        if gone and not version_id:
            assert answer.headers["x-amz-delete-marker"] == "true"
            self.learn(bucket, key, gone, answer)
        elif gone:
            assert answer.headers.get("x-amz-version-id", "") == version_id
            marker = "true" if gone.marker else ""
            assert answer.headers.get("x-amz-delete-marker", "") == marker

    @rule(
        who=who_s,
        source=st.tuples(owners, keys, picks),
        into=st.tuples(owners, keys),
        replace=st.booleans(),
        match=st.sampled_from(["", "", "current", "stale"]),
    )
    def copy(self, who: str, source, into, replace: bool, match: str) -> None:
        place, name = self.bucket(source[0]), source[1]
        version_id = self.version_of(source[2], place, name)
        bucket, key = self.bucket(into[0]), into[1]
        etag = self.conditions(match, place, name).get("if-match", "")
        if version_id and match == "current":
            etag = ""
        metadata = {"copy": str(self.count)} if replace else None
        headers = {"x-amz-copy-source": copy_source(place, name, version_id)}
        if metadata is not None:
            headers |= {"x-amz-metadata-directive": "REPLACE", "x-amz-meta-copy": str(self.count)}
        if etag:
            headers["x-amz-copy-source-if-match"] = etag
        answer = self.ask(who, "PUT", bucket, key, headers=headers)
        where = (place, name, version_id)
        made = self.judge(
            answer, lambda: self.reference.copy(who, where, bucket, key, metadata, etag)
        )
        if made:
            # A copy of what was uploaded in parts may be one piece, or keep its parts.
            told = answer.xml().findtext("ETag", "").strip('"')
            assert told == made.etag or "-" in told
            made.etag = told
            self.learn(bucket, key, made, answer)

    @rule(who=who_s, owner=owners, key=keys, pick=picks)
    def put_tags(self, who: str, owner: str, key: str, pick: int) -> None:
        bucket, tags = self.bucket(owner), {"t": str(self.count)}
        version_id = self.version_of(pick, bucket, key)
        query = {"tagging": ""} | ({"versionId": version_id} if version_id else {})
        body = f"<Tagging><TagSet><Tag><Key>t</Key><Value>{self.count}</Value></Tag></TagSet></Tagging>"
        answer = self.ask(who, "PUT", bucket, key, query=query, body=body.encode())
        self.judge(answer, lambda: self.reference.put_tags(who, bucket, key, tags, version_id))

    @rule(who=who_s, owner=owners, key=keys, pick=picks)
    def get_tags(self, who: str, owner: str, key: str, pick: int) -> None:
        bucket = self.bucket(owner)
        version_id = self.version_of(pick, bucket, key)
        query = {"tagging": ""} | ({"versionId": version_id} if version_id else {})
        answer = self.ask(who, "GET", bucket, key, query=query)
        found = self.judge(answer, lambda: self.reference.get_tags(who, bucket, key, version_id))
        if found:
            told = answer.xml().iter("Tag")
            assert {tag.findtext("Key"): tag.findtext("Value") for tag in told} == found.tags

    # --- uploads --------------------------------------------------------------------

    @rule(who=who_s, owner=owners, key=st.sampled_from(MULTIPART))
    def create_upload(self, who: str, owner: str, key: str) -> None:
        bucket = self.bucket(owner)
        headers = {"x-amz-meta-upload": str(self.count)}
        answer = self.ask(who, "POST", bucket, key, query={"uploads": ""}, headers=headers)
        upload = self.judge(
            answer,
            lambda: self.reference.create_upload(who, bucket, key, {"upload": str(self.count)}),
        )
        if upload:
            upload.id = answer.xml().findtext("UploadId", "")
            self.uploads.append((bucket, upload))

    @precondition(lambda self: self.uploads)
    @rule(
        who=who_s, pick=picks, number=st.integers(1, 3), large=st.sampled_from([False] * 5 + [True])
    )
    def put_part(self, who: str, pick: int, number: int, large: bool) -> None:
        bucket, upload = self.uploads[-1 - pick % len(self.uploads)]
        # A large body that is refused may be cut off while it is sent: then there is no answer to judge.
        wanted = self.reference.allows(who, bucket) and self.is_open(bucket, upload)
        padding = PART_MIN if large and wanted else 0
        body = self.body() + bytes(padding)
        query = {"partNumber": str(number), "uploadId": upload.id}
        answer = self.ask(who, "PUT", bucket, upload.key, query=query, body=body)
        etag = self.judge(
            answer, lambda: self.reference.put_part(who, bucket, upload, number, body)
        )
        assert etag is None or answer.etag == etag

    @precondition(lambda self: self.uploads)
    @rule(who=who_s, pick=picks, number=st.integers(1, 3), source=st.tuples(owners, keys, picks))
    def copy_part(self, who: str, pick: int, number: int, source) -> None:
        bucket, upload = self.uploads[-1 - pick % len(self.uploads)]
        place, name = self.bucket(source[0]), source[1]
        where = (place, name, self.version_of(source[2], place, name))
        query = {"partNumber": str(number), "uploadId": upload.id}
        headers = {"x-amz-copy-source": copy_source(*where)}
        answer = self.ask(who, "PUT", bucket, upload.key, query=query, headers=headers)

        def decide() -> str:
            try:
                return self.reference.copy_part(who, bucket, upload, number, where)
            except Refused as refused:
                # Source and upload may both be missing: either may be told first.
                gone = [] if self.is_open(bucket, upload) else ["NoSuchUpload"]
                raise Refused(*refused.codes, *gone) from None

        etag = self.judge(answer, decide)
        assert etag is None or answer.xml().findtext("ETag", "").strip('"') == etag

    @precondition(lambda self: self.uploads)
    @rule(
        who=who_s,
        pick=picks,
        wrong=st.sampled_from(["", "", "", "order", "etag", "missing"]),
        kind=conditions_s,
    )
    def complete(self, who: str, pick: int, wrong: str, kind: str) -> None:
        bucket, upload = self.uploads[-1 - pick % len(self.uploads)]
        if not self.is_open(bucket, upload):
            return  # completing again is answered as the first time: see tests/s3/operations/test_multipart.py
        parts = [(number, etag) for number, (_, etag) in sorted(upload.parts.items())]
        if not parts or wrong == "missing":
            parts.append((4, "0" * 32))
        if wrong == "order":
            parts.reverse()
        if wrong == "etag":
            parts[0] = (parts[0][0], "0" * 32)
        conditions = self.conditions(kind, bucket, upload.key)
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in parts
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        query = {"uploadId": upload.id}
        answer = self.ask(
            who, "POST", bucket, upload.key, query=query, body=body, headers=conditions
        )

        def decide() -> Version:
            if conditions and CONDITIONAL_COMPLETE in self.lacks:
                self.reference.allow(who, bucket)
                raise Refused("NotImplemented")
            return self.reference.complete(who, bucket, upload, parts, conditions)

        made = self.judge(answer, decide)
        if made:
            assert answer.xml().findtext("ETag", "").strip('"') == made.etag
            self.learn(bucket, upload.key, made, answer)

    @precondition(lambda self: self.uploads)
    @rule(who=who_s, pick=picks)
    def abort(self, who: str, pick: int) -> None:
        bucket, upload = self.uploads[-1 - pick % len(self.uploads)]
        answer = self.ask(who, "DELETE", bucket, upload.key, query={"uploadId": upload.id})
        self.judge(answer, lambda: self.reference.abort(who, bucket, upload))

    # --- buckets --------------------------------------------------------------------

    @rule(owner=owners, grant=st.sampled_from(["", "read", "all"]))
    def grant(self, owner: str, grant: str) -> None:
        bucket = self.bucket(owner)
        if grant:
            arn = f"arn:aws:s3:::{bucket}"
            actions = "s3:*" if grant == "all" else ["s3:GetObject", "s3:GetObjectVersion"]
            statement = {
                "Effect": "Allow",
                "Principal": "*",
                "Action": actions,
                "Resource": [f"{arn}/*", arn] if grant == "all" else f"{arn}/*",
            }
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()
            answer = self.ask(owner, "PUT", bucket, query={"policy": ""}, body=policy)
        else:
            answer = self.ask(owner, "DELETE", bucket, query={"policy": ""})
        assert answer.status in {200, 204}, answer
        self.reference.buckets[bucket].grant = grant

    @precondition(lambda self: VERSIONS not in self.lacks)
    @rule(owner=owners, state=st.sampled_from(["Enabled", "Enabled", "Suspended"]))
    def set_versioning(self, owner: str, state: str) -> None:
        bucket = self.bucket(owner)
        body = f"<VersioningConfiguration><Status>{state}</Status></VersioningConfiguration>"
        answer = self.ask(owner, "PUT", bucket, query={"versioning": ""}, body=body.encode())
        assert answer.status == 200, answer
        place = self.reference.buckets[bucket]
        place.versioning = state
        for versions in place.objects.values():
            for version in versions:
                version.id = version.id or "null"

    @rule(who=who_s, owner=owners)
    def list_objects(self, who: str, owner: str) -> None:
        bucket = self.bucket(owner)
        answer = self.ask(who, "GET", bucket, query={"list-type": "2"})
        expected = self.judge(answer, lambda: self.reference.listing(who, bucket))
        if expected is not None:
            assert [
                (item.findtext("Key"), int(item.findtext("Size")), item.findtext("ETag").strip('"'))
                for item in answer.xml().iter("Contents")
            ] == expected

    @rule(who=who_s, owner=owners)
    def list_versions(self, who: str, owner: str) -> None:
        bucket = self.bucket(owner)
        answer = self.ask(who, "GET", bucket, query={"versions": ""})
        expected = self.judge(answer, lambda: self.reference.versions(who, bucket))
        if expected is not None:
            assert [
                (
                    item.findtext("Key"),
                    item.findtext("VersionId"),
                    item.findtext("IsLatest") == "true",
                    item.tag == "DeleteMarker",
                )
                for item in answer.xml()
                if item.tag in {"Version", "DeleteMarker"}
            ] == expected

    @rule(who=who_s, owner=owners)
    def list_uploads(self, who: str, owner: str) -> None:
        bucket = self.bucket(owner)
        answer = self.ask(who, "GET", bucket, query={"uploads": ""})
        place = self.judge(answer, lambda: self.reference.allow(who, bucket))
        if place:
            told = answer.xml().iter("Upload")
            assert sorted(
                (one.findtext("Key"), one.findtext("UploadId")) for one in told
            ) == sorted((upload.key, upload.id) for upload in place.uploads)

    @invariant()
    def ids_are_known(self) -> None:
        assert all(upload.id for _, upload in self.uploads)

    def teardown(self) -> None:
        for owner in self.reference.buckets and NAMES:
            self.list_objects(owner, owner)
            self.list_versions(owner, owner)
            self.list_uploads(owner, owner)
            for key in KEYS:
                self.get(owner, owner, key, 0, "GET")


def copy_source(bucket: str, key: str, version_id: str) -> str:
    return quote(f"/{bucket}/{key}") + (f"?versionId={version_id}" if version_id else "")


@contextlib.contextmanager
def two_accounts(node: Node):
    """Requests by alice and bob."""
    with contextlib.ExitStack() as stack:
        accounts = {}
        for name in NAMES:
            issued = node.add_account(name)
            keys = Keys(issued["access_key"], issued["secret_key"], issued["account_id"])
            accounts[name] = stack.enter_context(contextlib.closing(Requests(node.port, keys)))
        yield accounts


def run_machine(node: Node, lacks: set[str] = frozenset(), *, examples: int) -> None:
    with contextlib.closing(node), two_accounts(node) as accounts:
        run_state_machine_as_test(
            lambda: Machine(accounts, frozenset(lacks)),
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                # Shrinking would take minutes where a failure says which request it was.
                phases=(Phase.generate,),
                report_multiple_bugs=False,
            ),
        )


def test_on_posix(tmp_path):
    (tmp_path / "buckets").mkdir()
    run_machine(Node(tmp_path / "node", f"posix://{tmp_path}/buckets"), examples=20)


def test_on_the_example_plugin(tmp_path):
    run_machine(Node(tmp_path / "node", "memory://"), {VERSIONS}, examples=10)


def test_on_s3(tmp_path, ceph):
    """What radosgw 16 cannot, which is the upstream here."""
    url = f"s3://?endpoint_url={ceph.endpoint}&region=us-east-1&addressing_style=path"
    keys = {"AWS_ACCESS_KEY_ID": ceph.access_key, "AWS_SECRET_ACCESS_KEY": ceph.secret_key}
    node = Node(tmp_path / "node", url, environment=keys)
    lacks = {CONDITIONAL_COMPLETE, CONDITIONAL_VERSIONS, MARKERS, NULL_IDS}
    run_machine(node, lacks, examples=6)
