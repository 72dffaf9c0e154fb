"""What the fuzzed bytes look like when they are right: a fuzzer starts from these, and mixes in the words."""

from __future__ import annotations

SEEDS: dict[str, tuple[bytes, ...]] = {
    "request": (
        (
            b"GET /bucket/key?versionId=null&partNumber=2&response-content-type=a HTTP/1.1\r\nHost: s3.test\r\nRange: bytes=5-9\r\n"
            b'If-Match: "0123", *\r\nIf-Modified-Since: Fri, 20 Nov 2026 10:00:00 GMT'
        ),
        (
            b"PUT /bucket/a%2Fb+c HTTP/1.1\r\nHost: s3.test:9000\r\nContent-Length: 5\r\nContent-MD5: XUFAKrxLKna5cZ2REBfFkg==\r\n"
            b"x-amz-meta-a: =?UTF-8?Q?=C3=A4?=\r\nx-amz-tagging: a=b&c=d\r\nx-amz-checksum-crc32: AAAAAA==\r\nx-amz-storage-class: STANDARD\r\n"
            b"x-amz-acl: public-read\r\nExpect: 100-continue"
        ),
        (
            b"PUT /b/k?partNumber=1&uploadId=x HTTP/1.1\r\nHost: x\r\nx-amz-copy-source: /b/k%20l?versionId=3\r\n"
            b"x-amz-copy-source-range: bytes=0-9\r\nx-amz-copy-source-if-match: a\r\nx-amz-metadata-directive: REPLACE\r\n"
            b'x-amz-grant-read: id="0", uri="http://acs.amazonaws.com/groups/global/AllUsers"'
        ),
        (
            b"GET /?max-buckets=3&continuation-token=x&prefix=a HTTP/1.1\r\nHost: bucket.s3.test\r\n"
            b"Authorization: AWS4-HMAC-SHA256 Credential=AKROOT0000000000TEST/20270115/us-east-1/s3/aws4_request, "
            b"SignedHeaders=host;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000\r\n"
            b"x-amz-date: 20270115T080000Z\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD"
        ),
        (
            b"GET /b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKROOT0000000000TEST%2F20270115%2Fus-east-1%2Fs3%2Faws4_request"
            b"&X-Amz-Date=20270115T080000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00 HTTP/1.0"
        ),
        b"GET /b/k?AWSAccessKeyId=AKROOT0000000000TEST&Expires=1800000060&Signature=AAAA%3D HTTP/1.1\r\nHost: x",
        b"GET /b?list-type=2&prefix=a&delimiter=/&max-keys=5&encoding-type=url&start-after=x&fetch-owner=true HTTP/1.1\r\nHost: x",
        b"GET /b?versions&key-marker=a&version-id-marker=b HTTP/1.1\r\nHost: x",
        b"GET /b?uploads&upload-id-marker=a&max-uploads=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked",
    ),
    "document": (
        (
            b'<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"00000000000000000000000000000000"</ETag>'
            b"<ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part></CompleteMultipartUpload>"
        ),
        b"<Delete><Object><Key>a&amp;b</Key><VersionId>null</VersionId><ETag>x</ETag></Object><Quiet>true</Quiet></Delete>",
        b"<CreateBucketConfiguration><LocationConstraint>eu</LocationConstraint></CreateBucketConfiguration>",
        b"<VersioningConfiguration xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><Status>Enabled</Status></VersioningConfiguration>",
        b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        (
            b"<CORSConfiguration><CORSRule><ID>x</ID><AllowedOrigin>http://*.a</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
            b"<AllowedHeader>*</AllowedHeader><MaxAgeSeconds>3</MaxAgeSeconds></CORSRule></CORSConfiguration>"
        ),
        (
            b"<AccessControlPolicy><Owner><ID>0</ID></Owner><AccessControlList><Grant>"
            b"<Grantee xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:type='Group'>"
            b"<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>"
            b"</AccessControlList></AccessControlPolicy>"
        ),
        b"<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>",
        b"<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
    ),
    "cors": (
        (
            b"<CORSConfiguration><CORSRule><AllowedOrigin>http://*.a</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
            b"<AllowedHeader>x-*</AllowedHeader><ExposeHeader>etag</ExposeHeader></CORSRule></CORSConfiguration>\n\n"
            b"origin:http://b.a\naccess-control-request-method:GET\naccess-control-request-headers:x-a, x-b"
        ),
    ),
    "policy": (
        b'{"Version":"2012-10-17","Id":"x","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":["*","arn:aws:iam::'
        + b"b" * 64
        + b':root"]},"Action":["s3:Get*","s3:PutObject"],"Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"],'
        b'"Condition":{"StringLike":{"s3:prefix":["a*"]},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},'
        b'"DateLessThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"},"Bool":{"aws:SecureTransport":"true"},'
        b'"NumericLessThanEquals":{"s3:max-keys":"5"},"Null":{"s3:x-amz-acl":"true"},'
        b'"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":["a"]}}}]}',
    ),
    "form-policy": (
        (
            b'{"expiration":"2030-01-01T00:00:00.000Z","conditions":[{"bucket":"b"},["starts-with","$key","k"],["eq","$acl","private"],'
            b'["content-length-range",0,10]]}'
        ),
    ),
    "aws-chunked": (
        b"\x055;chunk-signature="
        + b"0" * 64
        + b"\r\nhello\r\n0;chunk-signature="
        + b"0" * 64
        + b"\r\n\r\n",
        b"\x035\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
    ),
    "http-chunked": (b"\x035;a=b\r\nhello\r\n0\r\nTrailer: x\r\n\r\nGET / HTTP/1.1\r\n\r\n",),
    "form": (
        (
            b'\x07--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nk${filename}\r\n--b\r\n'
            b'Content-Disposition: form-data; name="file"; filename="f"\r\nContent-Type: a/b\r\n\r\nhello\r\n--b--\r\n'
        ),
    ),
}

WORDS: tuple[bytes, ...] = (
    *(
        b"\x00",
        b"\xff",
        b"%",
        b"%00",
        b"%2F",
        b"+",
        b"&",
        b"=",
        b";",
        b",",
        b'"',
        b"\\",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b":",
        b"*",
        b"?",
        b"/",
    ),
    *(
        b"-1",
        b"0",
        b"99999999999999999999",
        b"1e9",
        b"NaN",
        b"null",
        b"true",
        b"{}",
        b"[]",
        b"\xc3\xa4",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98\x80",
    ),
    *(
        b"<a>",
        b"</a>",
        b"<a/>",
        b"&amp;",
        b"&#0;",
        b"&#x110000;",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"<?xml version='1.0' encoding='utf-16'?>",
    ),
    *(
        b"--b",
        b"--b--",
        b"x-amz-",
        b"bytes=",
        b"s3:",
        b"arn:aws:s3:::",
        b"ForAllValues:",
        b"IfExists",
        b"${filename}",
        b"?versionId=",
    ),
)
