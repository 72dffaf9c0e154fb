"""What operations need: the table is total, names only actions there are, and asks more of requests that say more."""

from __future__ import annotations

import pytest

from appliance.policy.access.acl import Permission
from appliance.policy.access.actions import ACTIONS
from appliance.s3.wire.actions import NEEDS, OF_ACCOUNTS, UNJUDGED, needs_of
from appliance.s3.wire.operations import Level, Operation
from appliance.s3.wire.request import Request, parse_request

OPEN = OF_ACCOUNTS | UNJUDGED | {Operation.DeleteObjects}


def needs(method: str, target: str, **headers: str) -> list[str]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = parse_request(Request(method=method, target=target.encode(), headers=fields))
    return [need.action for need in needs_of(request)]


def test_every_operation_has_its_needs():
    assert set(NEEDS) == set(Operation)
    assert {operation for operation, found in NEEDS.items() if not found} == OPEN


@pytest.mark.parametrize("operation", sorted(set(Operation) - OPEN, key=lambda one: one.name))
def test_needs_name_actions_and_say_whether_they_write(operation):
    for need in NEEDS[operation]:
        assert need.action in ACTIONS
        assert need.writes is (operation.method in {"PUT", "POST", "DELETE"}) or (
            operation in {Operation.SelectObjectContent, Operation.CreateSession}
        )
        assert not need.of_object or operation.level is Level.OBJECT
        assert need.by_object is None or need.of_object
        assert need.by_object is not Permission.WRITE


def test_a_version_by_its_id_is_another_action():
    assert needs("GET", "/b/k?versionId=1") == ["s3:GetObjectVersion"]
    assert needs("GET", "/b/k?versionId=") == ["s3:GetObject"]
    assert needs("GET", "/b/k?acl&versionId=1") == ["s3:GetObjectVersionAcl"]
    assert needs("PUT", "/b/k?tagging&versionId=1") == ["s3:PutObjectVersionTagging"]
    assert needs("DELETE", "/b/k?versionId=1") == ["s3:DeleteObjectVersion"]
    both = needs("GET", "/b/k?attributes&versionId=1")
    assert both == ["s3:GetObjectVersion", "s3:GetObjectVersionAttributes"]
    assert needs("GET", "/b?policy&versionId=1") == ["s3:GetBucketPolicy"]


def test_no_grant_lets_anybody_remove_versions():
    request = parse_request(Request(method="DELETE", target=b"/b/k?versionId=1", headers={}))
    (need,) = needs_of(request)
    assert (need.writes, need.by_bucket, need.by_object) == (True, None, None)


def test_what_a_writer_says_besides_is_asked_for_too():
    put = ["s3:PutObject"]
    assert needs("PUT", "/b/k") == put
    assert needs("PUT", "/b/k", x_amz_acl="private") == [*put, "s3:PutObjectAcl"]
    assert needs("PUT", "/b/k", x_amz_grant_read="id=1") == [*put, "s3:PutObjectAcl"]
    assert needs("PUT", "/b/k", x_amz_tagging="a=b") == [*put, "s3:PutObjectTagging"]
    assert needs("POST", "/b/k?uploads", x_amz_tagging="a=b") == [*put, "s3:PutObjectTagging"]
    copy = needs("PUT", "/b/k", x_amz_copy_source="/b/s", x_amz_acl="private")
    assert copy == [*put, "s3:PutObjectAcl"]
    assert needs("GET", "/b/k", x_amz_acl="private") == ["s3:GetObject"]


MODE, UNTIL, HOLD = "x_amz_object_lock_mode", "x_amz_object_lock_retain_until_date", "x_amz_object_lock_legal_hold"  # fmt: skip
BYPASS = "x_amz_bypass_governance_retention"


def test_who_locks_what_it_writes_needs_leave_to_lock():
    put = ["s3:PutObject"]
    assert needs("PUT", "/b/k", **{MODE: "COMPLIANCE"}) == [*put, "s3:PutObjectRetention"]
    assert needs("PUT", "/b/k", **{UNTIL: "2099-01-01"}) == [*put, "s3:PutObjectRetention"]
    assert needs("PUT", "/b/k", **{HOLD: "ON"}) == [*put, "s3:PutObjectLegalHold"]
    both = needs("POST", "/b/k?uploads", **{MODE: "GOVERNANCE", UNTIL: "2099", HOLD: "OFF"})
    assert both == [*put, "s3:PutObjectRetention", "s3:PutObjectLegalHold"]
    copy = needs("PUT", "/b/k", x_amz_copy_source="/b/s", **{HOLD: "ON"})
    assert copy == [*put, "s3:PutObjectLegalHold"]
    assert needs("GET", "/b/k", **{MODE: "COMPLIANCE"}) == ["s3:GetObject"]


def test_who_goes_past_a_retention_needs_leave_for_that():
    past = "s3:BypassGovernanceRetention"
    for value in ("true", "True", "1", ""):
        said = {BYPASS: value}
        assert needs("DELETE", "/b/k", **said) == ["s3:DeleteObject", past]
        assert needs("DELETE", "/b/k?versionId=1", **said) == ["s3:DeleteObjectVersion", past]
        assert needs("PUT", "/b/k?retention", **said) == ["s3:PutObjectRetention", past]
        assert needs("PUT", "/b/k", **said) == ["s3:PutObject"]  # it means nothing there
    assert needs("DELETE", "/b/k", **{BYPASS: "False"}) == ["s3:DeleteObject"]
