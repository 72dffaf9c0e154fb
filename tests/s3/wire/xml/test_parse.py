"""Request documents: what clients send is read; bombs, strangers and scraps are refused, quickly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.errors import (
    ApplianceError,
    InvalidPartOrderError,
    InvalidTagError,
    UnsupportedError,
)
from appliance.model.objects import CompletedPart
from appliance.s3.wire.errors import BodyTooLargeError, InvalidArgumentValueError, MalformedXmlError
from appliance.s3.wire.xml.parse import (
    DeleteItem,
    DeleteRequest,
    parse_complete_multipart_upload,
    parse_create_bucket,
    parse_delete,
    parse_tagging,
)
from appliance.s3.wire.xml.text import escape
from appliance.s3.wire.xml.tree import DOCUMENT_BYTES_MAX, parse_tree
from tests.support.outcomes import outcome

PARSERS = [parse_complete_multipart_upload, parse_delete, parse_create_bucket, parse_tagging]
NAMESPACE = b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def part(number, etag='"e"', more=""):
    return f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{more}</Part>"


def completion(*parts, namespace=""):
    root = "CompleteMultipartUpload"
    return f"<{root}{namespace}>{''.join(parts)}</{root}>".encode()


def test_a_completion_names_its_parts():
    body = b'<?xml version="1.0" encoding="UTF-8"?>\n' + completion(
        part(1),
        "\n  ",
        part(3, " bare ", "<ChecksumCRC32> AAAAAA== </ChecksumCRC32>"),
        namespace=NAMESPACE.decode(),
    )
    assert parse_complete_multipart_upload(body) == (
        CompletedPart(number=1, etag="e"),
        CompletedPart(number=3, etag="bare", checksums={"crc32": "AAAAAA=="}),
    )


def test_of_a_part_named_twice_the_last_counts():
    parts = parse_complete_multipart_upload(completion(part(1, "a"), part(1, "b"), part(2, "c")))
    assert [(one.number, one.etag) for one in parts] == [(1, "b"), (2, "c")]


def test_ten_thousand_parts_are_read():
    parts = parse_complete_multipart_upload(completion(*(part(n) for n in range(1, 10_001))))
    assert [one.number for one in parts] == list(range(1, 10_001))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", MalformedXmlError),
        (completion(), MalformedXmlError),
        (completion(part(2), part(1)), InvalidPartOrderError),
        (completion(part(1), part(2), part(1)), InvalidPartOrderError),
        (completion(part(0)), InvalidArgumentValueError),
        (completion(part(10_001)), InvalidArgumentValueError),
        (completion(part("9" * 5000)), InvalidArgumentValueError),
        (completion(part("-1")), MalformedXmlError),
        (completion(part("²")), MalformedXmlError),
        (completion(part("")), MalformedXmlError),
        (completion("<Part><PartNumber>1</PartNumber></Part>"), MalformedXmlError),
        (completion("<Part><ETag>e</ETag></Part>"), MalformedXmlError),
        (completion(part(1, more="<ETag>again</ETag>")), MalformedXmlError),
        (completion(part(1, more="<Unknown/>")), MalformedXmlError),
        (completion(part(1), "<Other/>"), MalformedXmlError),
    ],
)
def test_a_completion_that_is_none_is_refused(body, error):
    with pytest.raises(error):
        parse_complete_multipart_upload(body)


def test_a_delete_names_objects_exactly():
    body = (
        b"<Delete"
        + NAMESPACE
        + b"><Quiet>true</Quiet><Object><Key> a &lt;&#xD;&#10;\xc3\xa9 </Key></Object>"
        b'<Object><Key>b</Key><VersionId>null</VersionId><ETag>"e"</ETag></Object></Delete>'
    )
    assert parse_delete(body) == DeleteRequest(
        (DeleteItem(" a <\r\né "), DeleteItem("b", "null", "e")), quiet=True
    )


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20),
        min_size=1,
        max_size=5,
    )
)
def test_any_key_that_xml_can_carry_is_read(keys):
    rows = "".join(
        f"<Object><Key>{escape(key)}</Key></Object>"
        for key in keys
        if "\ufffe" not in key and "\uffff" not in key
    )
    found = outcome(parse_delete, f"<Delete>{rows}</Delete>".encode())
    if isinstance(found, DeleteRequest):
        assert [item.key for item in found.objects] == [
            key for key in keys if "\ufffe" not in key and "\uffff" not in key
        ]
    else:
        assert rows == ""


def test_a_delete_has_1_to_1000_objects():
    row = b"<Object><Key>k</Key></Object>"
    assert len(parse_delete(b"<Delete>" + row * 1000 + b"</Delete>").objects) == 1000
    for count in (0, 1001):
        with pytest.raises(MalformedXmlError):
            parse_delete(b"<Delete>" + row * count + b"</Delete>")


@pytest.mark.parametrize(
    ("inner", "error"),
    [
        (b"<Object/>", MalformedXmlError),
        (b"<Object><Key>k</Key><Key>l</Key></Object>", MalformedXmlError),
        (b"<Object><Key>k</Key><Size>1</Size></Object>", UnsupportedError),
        (b"<Object><Key>k</Key><LastModifiedTime>t</LastModifiedTime></Object>", UnsupportedError),
        (b"<Object><Key>k</Key><OnlyIf>x</OnlyIf></Object>", MalformedXmlError),
        (b"<Quiet>perhaps</Quiet><Object><Key>k</Key></Object>", MalformedXmlError),
        (b"<Quiet/><Quiet/><Object><Key>k</Key></Object>", MalformedXmlError),
    ],
)
def test_a_delete_that_is_not_understood_deletes_nothing(inner, error):
    with pytest.raises(error):
        parse_delete(b"<Delete>" + inner + b"</Delete>")


def test_a_bucket_may_say_where_it_lies():
    root = "CreateBucketConfiguration"
    assert parse_create_bucket(b"") == ""
    assert parse_create_bucket(f"<{root}/>".encode()) == ""
    body = f"<{root}><LocationConstraint> eu-west-1 </LocationConstraint></{root}>"
    assert parse_create_bucket(body.encode()) == "eu-west-1"
    for name in ("Location", "Bucket", "Tags"):
        with pytest.raises(UnsupportedError, match=name):
            parse_create_bucket(f"<{root}><{name}/></{root}>".encode())


def test_tags_are_read():
    body = "<Tagging><TagSet><Tag><Key>k</Key><Value>v 1</Value></Tag><Tag><Key>e</Key><Value/></Tag></TagSet></Tagging>"
    assert parse_tagging(body.encode()) == {"k": "v 1", "e": ""}
    assert parse_tagging(b"<Tagging><TagSet/></Tagging>") == {}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<Tagging/>", MalformedXmlError),
        (b"<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>", MalformedXmlError),
        (b"<Tagging><TagSet><Other/></TagSet></Tagging>", MalformedXmlError),
        (b"<Tagging><TagSet><Tag><Key/><Value/></Tag></TagSet></Tagging>", InvalidTagError),
    ],
)
def test_tags_that_are_none_are_refused(body, error):
    with pytest.raises(error):
        parse_tagging(body)


# --- hostile documents ---------------------------------------------------------------------------------

LAUGHS = (
    b'<!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><Delete>&j;</Delete>"
)
HOSTILE = {
    "billion laughs": LAUGHS,
    "a DTD": b"<!DOCTYPE Delete><Delete/>",
    "an external entity": b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete>&x;</Delete>',
    "a parameter entity": b'<!DOCTYPE d [<!ENTITY % x SYSTEM "http://h/">%x;]><Delete/>',
    "an unknown entity": b"<Delete>&nbsp;</Delete>",
    "depth": b"<Delete>" + b"<a>" * 100_000,
    "many elements": b"<Delete>" + b"<a/>" * 200_000 + b"</Delete>",
    "cut short": b"<Delete><Object>",
    "two roots": b"<Delete/><Delete/>",
    "another root": b"<delete/>",
    "not XML": b"Key=value",
    "NUL": b"<Delete>\0</Delete>",
    "a control reference": b"<Delete>&#1;</Delete>",
    "bad UTF-8": b"<Delete>\xff</Delete>",
    "unknown encoding": b'<?xml version="1.0" encoding="x-unknown"?><Delete/>',
    "multi-byte encoding": b'<?xml version="1.0" encoding="utf-7"?><Delete/>',
    "unbound prefix": b"<x:Delete/>",
    "somebody else's key": b'<Delete xmlns:x="urn:x"><Object><x:Key>k</x:Key></Object></Delete>',
    "somebody else's document": b'<Delete xmlns="urn:x"><Object><Key>k</Key></Object></Delete>',
    "somebody else's tags": b'<Tagging xmlns="urn:x"><TagSet/></Tagging>',
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("parser", PARSERS)
def test_a_hostile_document_is_malformed(parser, name):
    with pytest.raises(MalformedXmlError):
        parser(HOSTILE[name])


@pytest.mark.parametrize(
    "namespace",
    [
        "http://s3.amazonaws.com/doc/2006-03-01/",
        "http://s3.amazonaws.com/doc/2006-03-01",
        "https://s3.amazonaws.com/doc/2006-03-01/",
        "http://doc.s3.amazonaws.com/2006-03-01",
    ],
)
def test_s3_s_own_namespace_may_be_said_in_all_its_spellings(namespace):
    for colon in ("", "s:"):
        xmlns = f"xmlns:s='{namespace}'" if colon else f"xmlns='{namespace}'"
        rows = f"<{colon}Object><{colon}Key>k</{colon}Key></{colon}Object>"
        found = parse_delete(f"<{colon}Delete {xmlns}>{rows}</{colon}Delete>".encode())
        assert [item.key for item in found.objects] == ["k"]


def test_a_document_is_bounded():
    with pytest.raises(BodyTooLargeError):
        parse_delete(b"<Delete>" + b" " * DOCUMENT_BYTES_MAX)


def test_text_is_joined_around_what_is_ignored():
    node = parse_tree(b"<a>one<!-- two --><![CDATA[<three>]]><?four?></a>", "a")
    assert node.text == "one<three>"


SCRAPS = st.sampled_from(
    [b"<Delete>", b"</Delete>", b"<Object>", b"</Object>", b"<Key>", b"</Key>", b"<Tagging>", b"<TagSet>", b"</TagSet>", b"</Tagging>",
     b"<CompleteMultipartUpload>", b"</CompleteMultipartUpload>", b"<Part>", b"</Part>", b"<PartNumber>1</PartNumber>", b"<ETag>e</ETag>",
     b"<!DOCTYPE a [", b"]>", b"<!ENTITY a 'b'>", b"&a;", b"&lt;", b"<?xml version='1.0'?>", b"<![CDATA[", b"]]>", b"<!--", b"-->"]
)  # fmt: skip


@given(st.lists(SCRAPS | st.binary(max_size=6), max_size=14).map(b"".join))
def test_any_bytes_are_a_value_or_a_domain_error(body):
    for parser in PARSERS:
        found = outcome(parser, body)
        assert isinstance(found, ApplianceError | tuple | DeleteRequest | str | dict)
