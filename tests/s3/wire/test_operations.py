"""The operation table: complete, unambiguous, and safe about what it does not know."""

import itertools

import botocore.session
import pytest

from appliance.s3.wire.errors import (
    ConflictingParametersError,
    InvalidArgumentValueError,
    MethodNotAllowedError,
)
from appliance.s3.wire.operations import METHODS, Level, Operation, find_operation

LEVELS = {"": Level.SERVICE, "Bucket": Level.BUCKET, "Key": Level.OBJECT}
# Served by other endpoints, or by other paths, than the buckets' own.
ELSEWHERE = {"WriteGetObjectResponse", "ListDirectoryBuckets"}


def of_botocore():
    """Every S3 operation that botocore knows: name -> (method, level, query of its URI, headers)."""
    model = botocore.session.get_session().get_service_model("s3")
    for name in model.operation_names:
        operation = model.operation_model(name)
        path, _, raw = operation.http["requestUri"].partition("?")
        level = (
            Level.OBJECT
            if "{Key+}" in path
            else Level.BUCKET
            if "{Bucket}" in path
            else Level.SERVICE
        )
        query = dict(item.partition("=")[::2] for item in raw.split("&") if item)
        members = operation.input_shape.members if operation.input_shape else {}
        required = operation.input_shape.required_members if operation.input_shape else []
        for member in required:
            shape = members[member].serialization
            if shape.get("location") == "querystring":
                query[shape["name"]] = "v"
        headers = {
            members[member].serialization["name"].lower(): "v"
            for member in required
            if members[member].serialization.get("location") == "header"
        }
        yield name, operation.http["method"], level, query, headers


@pytest.mark.parametrize(
    ("name", "method", "level", "query", "headers"),
    list(of_botocore()),
    ids=lambda value: str(value)[:20],
)
def test_every_operation_of_botocore_is_recognised(name, method, level, query, headers):
    if name in ELSEWHERE:
        assert name not in Operation.__members__
        return
    aliases = {
        "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
        "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
        "GetBucketNotification": "GetBucketNotificationConfiguration",
        "PutBucketNotification": "PutBucketNotificationConfiguration",
    }
    found = find_operation(method, level, query, headers)
    expected = aliases.get(name, name)
    assert found.name == expected


def test_each_row_finds_itself():
    for operation in Operation:
        query = {operation.subresource: "2"} if operation.subresource else {}
        headers = {operation.detail: "/b/k"} if operation.detail.startswith("x-") else {}
        if not operation.detail:
            query |= {"id": "one", "annotationName": "one"}
        assert find_operation(operation.method, operation.level, query, headers) is operation


@pytest.mark.parametrize(
    ("method", "level", "query", "name"),
    [
        ("GET", Level.BUCKET, {"prefix": "a", "unknown": ""}, "ListObjects"),
        ("GET", Level.BUCKET, {"list-type": "1"}, "ListObjects"),
        ("GET", Level.OBJECT, {"versionId": "null", "x-id": "GetObject"}, "GetObject"),
        ("GET", Level.OBJECT, {"partNumber": "1"}, "GetObject"),
        ("HEAD", Level.OBJECT, {"acl": ""}, "HeadObject"),
        ("PUT", Level.OBJECT, {"partNumber": "1", "uploadId": "u", "x-id": ""}, "UploadPart"),
        ("POST", Level.OBJECT, {"select": "", "select-type": "2"}, "SelectObjectContent"),
        ("DELETE", Level.OBJECT, {"tagging": "", "versionId": "v"}, "DeleteObjectTagging"),
    ],
)
def test_other_parameters_are_ignored(method, level, query, name):
    assert find_operation(method, level, query, {}).name == name


def test_a_copy_source_makes_a_copy_of_puts_only():
    headers = {"x-amz-copy-source": "/b/k"}
    assert find_operation("PUT", Level.OBJECT, {}, headers) is Operation.CopyObject
    assert (
        find_operation("PUT", Level.OBJECT, {"uploadId": "u"}, headers) is Operation.UploadPartCopy
    )
    assert (
        find_operation("PUT", Level.OBJECT, {"tagging": ""}, headers) is Operation.PutObjectTagging
    )
    assert find_operation("GET", Level.OBJECT, {}, headers) is Operation.GetObject


def test_what_changes_something_is_never_found_by_ignoring_a_subresource():
    """`DELETE /bucket?versioning` does not delete the bucket; `PUT /bucket/key?uploads` does not put the object."""
    subresources = {(one.level, one.subresource) for one in Operation if one.subresource}
    for method, (level, name) in itertools.product(("PUT", "POST", "DELETE"), subresources):
        try:
            found = find_operation(method, level, {name: ""}, {})
        except MethodNotAllowedError:
            continue
        assert found.subresource == name


@pytest.mark.parametrize("method", ["", "get", "PATCH", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_not_allowed(method):
    assert method not in METHODS
    for level in Level:
        with pytest.raises(MethodNotAllowedError):
            find_operation(method, level, {}, {})


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "HEAD"])
def test_the_service_itself_can_only_be_listed(method):
    with pytest.raises(MethodNotAllowedError) as caught:
        find_operation(method, Level.SERVICE, {}, {})
    assert caught.value.extra == {"Method": method, "ResourceType": "SERVICE"}


def test_two_subresources_conflict():
    with pytest.raises(ConflictingParametersError, match="acl, policy"):
        find_operation("GET", Level.BUCKET, {"policy": "", "acl": ""}, {})


def test_no_two_operations_share_a_row():
    assert len({operation.value for operation in Operation}) == len(Operation.__members__)


@pytest.mark.parametrize("value", ["3", "x", "22"])
def test_an_unknown_list_type_is_refused(value):
    with pytest.raises(InvalidArgumentValueError, match="List Type"):
        find_operation("GET", Level.BUCKET, {"list-type": value}, {})


@pytest.mark.parametrize(("level", "name"), [(Level.BUCKET, "delete"), (Level.OBJECT, "uploads"), (Level.OBJECT, "select")])  # fmt: skip
def test_getting_what_is_only_posted_is_not_getting_something_else(level, name):
    with pytest.raises(MethodNotAllowedError):
        find_operation("GET", level, {name: ""}, {})
