"""Answers, read back by the parser that boto3 uses, and by a strict XML parser."""

import datetime as dt
import functools
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import botocore.parsers
import botocore.session
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.auth.identity import Identity
from appliance.model.errors import AccessDeniedError
from appliance.model.names import key_bytes
from appliance.model.objects import (
    BucketInfo,
    DeleteOutcome,
    ListPage,
    ObjectInfo,
    ObjectVersion,
    PartInfo,
    PartPage,
    UploadInfo,
    UploadPage,
    VersionPage,
)
from appliance.s3.wire.listing import (
    list_query_v1,
    list_query_v2,
    list_query_versions,
    opened_upload_id,
    uploads_query,
)
from appliance.s3.wire.xml import render
from appliance.s3.wire.xml.text import escape

SECRET = b"secret"
OWNER = Identity(account_id="f" * 64, display_name="root & co", access_key="ak")
OWNER_READ = {"ID": "f" * 64, "DisplayName": "root & co"}
NS = 1_700_000_000_123_456_789
TIME = dt.datetime(2023, 11, 14, 22, 13, 20, 123000, tzinfo=dt.UTC)


def whose(owner_id: str) -> Identity:
    """Of the bucket's owner, and of others."""
    return Identity(account_id=owner_id, display_name="", access_key="") if owner_id else OWNER


@functools.cache
def model():
    return botocore.session.get_session().get_service_model("s3")


def read(operation, body):
    """What boto3 makes of a body."""
    parser = botocore.parsers.create_parser("rest-xml")
    response = {"body": body, "headers": {}, "status_code": 200}
    parsed = parser.parse(response, model().operation_model(operation).output_shape)
    del parsed["ResponseMetadata"]
    return parsed


def strictly(body):
    return ET.fromstring(body)  # noqa: S314  # our own document


def info(key, **facts):
    return ObjectInfo(
        **{"key": key, "size": 3, "etag": "e1", "version": "v", "modified_ns": NS} | facts
    )


def contents(key, **facts):
    return {
        "Key": key,
        "LastModified": TIME,
        "ETag": '"e1"',
        "Size": 3,
        "StorageClass": "STANDARD",
    } | facts


def test_buckets():
    body = render.list_buckets([BucketInfo(name="b", created_ns=NS), BucketInfo(name="c")], OWNER)
    parsed = read("ListBuckets", body)
    assert parsed["Owner"] == OWNER_READ
    assert [bucket["Name"] for bucket in parsed["Buckets"]] == ["b", "c"]
    assert parsed["Buckets"][0]["CreationDate"] == TIME


@pytest.mark.parametrize(("region", "shown"), [("eu-west-1", "eu-west-1"), ("us-east-1", None)])
def test_location(region, shown):
    """The element is the document's root, which boto3 reads by a handler of its own."""
    root = strictly(render.bucket_location(region))
    assert (root.tag.rpartition("}")[2], root.text) == ("LocationConstraint", shown)


PAGE = ListPage(
    objects=(
        info("a"),
        info("b&<", checksums={"crc32": "x"}, headers={"x-amz-storage-class": "GLACIER"}),
    ),
    common_prefixes=("c/",),
    continuation="next",
    last="c/",
)
LAST = ListPage(objects=(info("a"),), last="a")


def test_objects_first_form():
    query = list_query_v1("b", {"prefix": "p", "delimiter": "/", "max-keys": "3"})
    assert read("ListObjects", render.list_objects_v1(query, PAGE, whose)) == {
        "Name": "b",
        "Prefix": "p",
        "Marker": "",
        "NextMarker": "c/",
        "Delimiter": "/",
        "MaxKeys": 3,
        "IsTruncated": True,
        "Contents": [
            contents("a", Owner=OWNER_READ),
            contents(
                "b&<",
                Owner=OWNER_READ,
                StorageClass="GLACIER",
                ChecksumAlgorithm=["CRC32"],
                ChecksumType="FULL_OBJECT",
            ),
        ],
        "CommonPrefixes": [{"Prefix": "c/"}],
    }


def test_the_first_form_tells_the_next_marker_with_a_delimiter_only():
    page = ListPage(objects=(info("a"),), continuation="next", last="a")
    parsed = read("ListObjects", render.list_objects_v1(list_query_v1("b", {}), page, whose))
    assert "NextMarker" not in parsed
    assert "Delimiter" not in parsed
    assert parsed["IsTruncated"]


def test_objects_second_form_goes_on_by_token():
    query = list_query_v2("b", {"start-after": "s", "delimiter": "/"}, SECRET)
    parsed = read("ListObjectsV2", render.list_objects_v2(query, PAGE, whose, SECRET))
    assert (parsed["KeyCount"], parsed["MaxKeys"], parsed["StartAfter"]) == (3, 1000, "s")
    assert "Owner" not in parsed["Contents"][0]
    token = parsed["NextContinuationToken"]
    following = list_query_v2("b", {"continuation-token": token, "fetch-owner": "true"}, SECRET)
    assert following.request.continuation == "next"
    parsed = read("ListObjectsV2", render.list_objects_v2(following, LAST, whose, SECRET))
    assert parsed == {
        "Name": "b",
        "Prefix": "",
        "ContinuationToken": token,
        "KeyCount": 1,
        "MaxKeys": 1000,
        "IsTruncated": False,
        "Contents": [contents("a", Owner=OWNER_READ)],
    }


def test_versions_of_an_unversioned_bucket_are_null():
    query = list_query_versions("b", {"key-marker": "0"})
    page = VersionPage(versions=tuple(ObjectVersion(info=one) for one in LAST.objects))
    parsed = read("ListObjectVersions", render.list_object_versions(query, page, whose))
    assert parsed == {
        "Name": "b",
        "Prefix": "",
        "KeyMarker": "0",
        "VersionIdMarker": "",
        "MaxKeys": 1000,
        "IsTruncated": False,
        "Versions": [contents("a", VersionId="null", IsLatest=True, Owner=OWNER_READ)],
    }


@pytest.mark.parametrize(("last", "version"), [("a", "null"), ("c/", None)])
def test_versions_go_on_after_a_version_or_a_prefix(last, version):
    page = VersionPage(
        versions=(ObjectVersion(info=info("a")),),
        common_prefixes=("c/",),
        truncated=True,
        next_key_marker=last,
        next_version_id_marker=version or "",
    )
    query = list_query_versions("b", {"delimiter": "/"})
    parsed = read("ListObjectVersions", render.list_object_versions(query, page, whose))
    assert (parsed["NextKeyMarker"], parsed.get("NextVersionIdMarker")) == (last, version)


def test_versions_and_delete_markers_are_told_apart():
    made = msgspec.structs.replace(info("a"), version_id="v1")
    page = VersionPage(
        versions=(
            ObjectVersion(info=made, delete_marker=True),
            ObjectVersion(info=made, latest=False),
        )
    )
    query = list_query_versions("b", {})
    parsed = read("ListObjectVersions", render.list_object_versions(query, page, whose))
    marker = {
        "Key": "a",
        "VersionId": "v1",
        "IsLatest": True,
        "LastModified": TIME,
        "Owner": OWNER_READ,
    }
    assert parsed["DeleteMarkers"] == [marker]
    assert parsed["Versions"] == [contents("a", VersionId="v1", IsLatest=False, Owner=OWNER_READ)]


def keys_in(body):
    return [
        node.text
        for node in strictly(body).iter()
        if node.tag.endswith(("}Key", "}Prefix")) and node.text
    ]


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4))
def test_any_key_survives_url_encoding(raws):
    keys = [raw.decode("utf-8", "surrogateescape") for raw in raws]
    page = ListPage(objects=tuple(map(info, keys)), common_prefixes=tuple(keys))
    query = list_query_v1("b", {"encoding-type": "url"})
    shown = keys_in(render.list_objects_v1(query, page, whose))
    assert [unquote(text, errors="surrogateescape") for text in shown] == keys * 2
    assert all(key_bytes(text).isascii() for text in shown)


@given(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"),
        min_size=1,
    )
)
def test_any_printable_key_survives_as_it_is(key):
    assert keys_in(
        render.list_objects_v1(list_query_v1("b", {}), ListPage(objects=(info(key),)), whose)
    ) == [key]


def test_what_xml_cannot_carry_is_still_written_as_s3_writes_it():
    assert escape("\x01\n\r\t<&>\"'\x7f\udcff\ufffe\uffff") == (
        "&#x1;&#xa;&#xd;&#x9;&lt;&amp;&gt;&quot;&apos;&#x7f;\ufffd\ufffd\ufffd"
    )


@given(st.text())
def test_escaped_text_is_always_utf8_without_markup(text):
    shown = escape(text)
    assert shown.encode().decode() == shown
    assert not set("<>\"'") & set(shown)


# --- objects -------------------------------------------------------------------------------------


def test_a_copy():
    parsed = read("CopyObject", render.copy_object_result(info("k", checksums={"sha1": "s"})))
    assert parsed["CopyObjectResult"] == {
        "LastModified": TIME,
        "ETag": '"e1"',
        "ChecksumSHA1": "s",
        "ChecksumType": "FULL_OBJECT",
    }


def test_a_delete_of_many_tells_errors_always_and_successes_unless_quiet():
    outcomes = [DeleteOutcome(key="a\n&"), DeleteOutcome(key="b", error=AccessDeniedError("No."))]
    errors = [{"Key": "b", "Code": "AccessDenied", "Message": "No."}]
    loud = read("DeleteObjects", render.delete_result(outcomes, quiet=False))
    assert loud == {"Deleted": [{"Key": "a\n&"}], "Errors": errors}
    assert read("DeleteObjects", render.delete_result(outcomes, quiet=True)) == {"Errors": errors}


def test_tags():
    parsed = read("GetObjectTagging", render.tagging({"k": "v", "e": ""}))
    assert parsed == {"TagSet": [{"Key": "e", "Value": ""}, {"Key": "k", "Value": "v"}]}


ATTRIBUTES = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})


def test_the_attributes_of_a_plain_object():
    parsed = read("GetObjectAttributes", render.object_attributes(info("k"), ATTRIBUTES, 0, 1000))
    assert parsed == {"ETag": "e1", "StorageClass": "STANDARD", "ObjectSize": 3}
    parsed = read(
        "GetObjectAttributes", render.object_attributes(info("k"), frozenset({"ETag"}), 0, 1000)
    )
    assert parsed == {"ETag": "e1"}


def test_the_attributes_of_an_object_uploaded_in_parts():
    parts = info(
        "k",
        size=25,
        part_sizes=(10, 10, 5),
        checksums={"sha256": "whole"},
        checksum_type="COMPOSITE",
        part_checksums=({"sha256": "1"}, {"sha256": "2"}, {"sha256": "3"}),
    )
    parsed = read("GetObjectAttributes", render.object_attributes(parts, ATTRIBUTES, 1, 1))
    assert parsed["Checksum"] == {"ChecksumSHA256": "whole-3", "ChecksumType": "COMPOSITE"}
    assert parsed["ObjectParts"] == {
        "TotalPartsCount": 3,
        "PartNumberMarker": 1,
        "NextPartNumberMarker": 2,
        "MaxParts": 1,
        "IsTruncated": True,
        "Parts": [{"PartNumber": 2, "Size": 10, "ChecksumSHA256": "2"}],
    }
    for marker, limit, numbers in ((0, 1000, [1, 2, 3]), (3, 10, []), (9, 10, []), (0, 0, [])):
        parsed = read(
            "GetObjectAttributes", render.object_attributes(parts, ATTRIBUTES, marker, limit)
        )
        shown = parsed["ObjectParts"]
        assert [part["PartNumber"] for part in shown.get("Parts", [])] == numbers
        assert shown["IsTruncated"] is False


# --- multipart uploads --------------------------------------------------------------------------------


def test_an_upload_begins_gets_parts_and_completes():
    parsed = read("CreateMultipartUpload", render.initiate_multipart_upload("b", "k&", "id"))
    assert parsed == {"Bucket": "b", "Key": "k&", "UploadId": "id"}
    part = PartInfo(number=1, size=3, etag="e1", modified_ns=NS, checksums={"crc32c": "c"})
    parsed = read("UploadPartCopy", render.copy_part_result(part))
    assert parsed["CopyPartResult"] == {"LastModified": TIME, "ETag": '"e1"', "ChecksumCRC32C": "c"}
    parsed = read(
        "CompleteMultipartUpload", render.complete_multipart_upload("b", info("k"), "http://h/b/k")
    )
    assert parsed == {"Location": "http://h/b/k", "Bucket": "b", "Key": "k", "ETag": '"e1"'}


UPLOAD = UploadInfo(key="k", upload_id="u1", initiated_ns=NS, checksums=("sha1",))


def test_parts_of_an_upload():
    parts = (PartInfo(number=2, size=3, etag="e1", modified_ns=NS, checksums={"sha1": "s"}),)
    page = PartPage(upload=UPLOAD, parts=parts, next_marker=2)
    assert read("ListParts", render.list_parts("b", page, "sealed", 1, 1, whose)) == {
        "Bucket": "b",
        "Key": "k",
        "UploadId": "sealed",
        "PartNumberMarker": 1,
        "NextPartNumberMarker": 2,
        "MaxParts": 1,
        "IsTruncated": True,
        "Parts": [
            {"PartNumber": 2, "LastModified": TIME, "ETag": '"e1"', "Size": 3, "ChecksumSHA1": "s"}
        ],
        "Initiator": OWNER_READ,
        "Owner": OWNER_READ,
        "StorageClass": "STANDARD",
        "ChecksumAlgorithm": "SHA1",
        "ChecksumType": "COMPOSITE",
    }
    parsed = read(
        "ListParts", render.list_parts("b", PartPage(upload=UPLOAD), "sealed", 0, 1000, whose)
    )
    assert (parsed["NextPartNumberMarker"], parsed["IsTruncated"]) == (0, False)


def test_uploads_of_a_bucket():
    page = UploadPage(
        uploads=(UPLOAD,),
        common_prefixes=("d/",),
        truncated=True,
        next_key_marker="k",
        next_upload_id_marker="u1",
    )
    query = uploads_query("b", {"prefix": "", "delimiter": "/", "max-uploads": "2"})
    parsed = read("ListMultipartUploads", render.list_uploads(query, page, whose, SECRET))
    sealed = parsed["Uploads"][0].pop("UploadId")
    assert opened_upload_id(sealed, "b", "k", SECRET) == "u1"
    assert parsed == {
        "Bucket": "b",
        "KeyMarker": "",
        "UploadIdMarker": "",
        "NextKeyMarker": "k",
        "NextUploadIdMarker": sealed,
        "Prefix": "",
        "Delimiter": "/",
        "MaxUploads": 2,
        "IsTruncated": True,
        "Uploads": [
            {
                "Key": "k",
                "Initiator": OWNER_READ,
                "Owner": OWNER_READ,
                "StorageClass": "STANDARD",
                "Initiated": TIME,
                "ChecksumAlgorithm": "SHA1",
                "ChecksumType": "COMPOSITE",
            }
        ],
        "CommonPrefixes": [{"Prefix": "d/"}],
    }


def test_each_object_shows_its_own_owner():
    mine, other = info("a"), msgspec.structs.replace(info("b"), owner="e" * 64)
    page = ListPage(objects=(mine, other))
    parsed = read("ListObjects", render.list_objects_v1(list_query_v1("b", {}), page, whose))
    assert [row["Owner"]["ID"] for row in parsed["Contents"]] == ["f" * 64, "e" * 64]
