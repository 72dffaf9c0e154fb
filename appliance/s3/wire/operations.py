"""Which operation a request asks for: one table of everything S3 knows, whether this product has it or not.

An operation is named by method, level (service, bucket, object) and at most one distinguishing query parameter ("sub-resource") or header.
What the product does not implement is still recognised, so that it is answered NotImplemented after authentication, instead of being
mistaken for something else: `PUT /b?policy` must never create a bucket. Other query parameters are ignored, as S3 ignores them.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from appliance.s3.wire.errors import (
    ConflictingParametersError,
    InvalidArgumentValueError,
    MethodNotAllowedError,
)


class Level(enum.Enum):
    """What the path names."""

    SERVICE = "SERVICE"
    BUCKET = "BUCKET"
    OBJECT = "OBJECT"


SERVICE, BUCKET, OBJECT = Level.SERVICE, Level.BUCKET, Level.OBJECT
COPY_SOURCE = "x-amz-copy-source"


class Operation(enum.Enum):
    """Named as in the S3 API: `operation.name`. Each is (method, level, sub-resource), and a fourth field where two share those.

    The two preflights are not operations of the S3 API, but requests of browsers.
    """

    ListBuckets = ("GET", SERVICE, "")
    # --- buckets
    ListObjects = ("GET", BUCKET, "")
    ListObjectsV2 = ("GET", BUCKET, "list-type")
    ListObjectVersions = ("GET", BUCKET, "versions")
    ListMultipartUploads = ("GET", BUCKET, "uploads")
    GetBucketLocation = ("GET", BUCKET, "location")
    GetBucketAbac = ("GET", BUCKET, "abac")
    GetBucketAccelerateConfiguration = ("GET", BUCKET, "accelerate")
    GetBucketAcl = ("GET", BUCKET, "acl")
    GetBucketAnalyticsConfiguration = ("GET", BUCKET, "analytics")
    ListBucketAnalyticsConfigurations = ("GET", BUCKET, "analytics", "no id")
    GetBucketCors = ("GET", BUCKET, "cors")
    GetBucketEncryption = ("GET", BUCKET, "encryption")
    GetBucketIntelligentTieringConfiguration = ("GET", BUCKET, "intelligent-tiering")
    ListBucketIntelligentTieringConfigurations = ("GET", BUCKET, "intelligent-tiering", "no id")
    GetBucketInventoryConfiguration = ("GET", BUCKET, "inventory")
    ListBucketInventoryConfigurations = ("GET", BUCKET, "inventory", "no id")
    GetBucketLifecycleConfiguration = ("GET", BUCKET, "lifecycle")
    GetBucketLogging = ("GET", BUCKET, "logging")
    GetBucketMetadataConfiguration = ("GET", BUCKET, "metadataConfiguration")
    GetBucketMetadataTableConfiguration = ("GET", BUCKET, "metadataTable")
    GetBucketMetricsConfiguration = ("GET", BUCKET, "metrics")
    ListBucketMetricsConfigurations = ("GET", BUCKET, "metrics", "no id")
    GetBucketNotificationConfiguration = ("GET", BUCKET, "notification")
    GetObjectLockConfiguration = ("GET", BUCKET, "object-lock")
    GetBucketOwnershipControls = ("GET", BUCKET, "ownershipControls")
    GetBucketPolicy = ("GET", BUCKET, "policy")
    GetBucketPolicyStatus = ("GET", BUCKET, "policyStatus")
    GetPublicAccessBlock = ("GET", BUCKET, "publicAccessBlock")
    GetBucketReplication = ("GET", BUCKET, "replication")
    GetBucketRequestPayment = ("GET", BUCKET, "requestPayment")
    CreateSession = ("GET", BUCKET, "session")
    GetBucketTagging = ("GET", BUCKET, "tagging")
    GetBucketVersioning = ("GET", BUCKET, "versioning")
    GetBucketWebsite = ("GET", BUCKET, "website")
    HeadBucket = ("HEAD", BUCKET, "")
    CreateBucket = ("PUT", BUCKET, "")
    PutBucketAbac = ("PUT", BUCKET, "abac")
    PutBucketAccelerateConfiguration = ("PUT", BUCKET, "accelerate")
    PutBucketAcl = ("PUT", BUCKET, "acl")
    PutBucketAnalyticsConfiguration = ("PUT", BUCKET, "analytics")
    PutBucketCors = ("PUT", BUCKET, "cors")
    PutBucketEncryption = ("PUT", BUCKET, "encryption")
    PutBucketIntelligentTieringConfiguration = ("PUT", BUCKET, "intelligent-tiering")
    PutBucketInventoryConfiguration = ("PUT", BUCKET, "inventory")
    PutBucketLifecycleConfiguration = ("PUT", BUCKET, "lifecycle")
    PutBucketLogging = ("PUT", BUCKET, "logging")
    UpdateBucketMetadataAnnotationTableConfiguration = ("PUT", BUCKET, "metadataAnnotationTable")
    UpdateBucketMetadataInventoryTableConfiguration = ("PUT", BUCKET, "metadataInventoryTable")
    UpdateBucketMetadataJournalTableConfiguration = ("PUT", BUCKET, "metadataJournalTable")
    PutBucketMetricsConfiguration = ("PUT", BUCKET, "metrics")
    PutBucketNotificationConfiguration = ("PUT", BUCKET, "notification")
    PutObjectLockConfiguration = ("PUT", BUCKET, "object-lock")
    PutBucketOwnershipControls = ("PUT", BUCKET, "ownershipControls")
    PutBucketPolicy = ("PUT", BUCKET, "policy")
    PutPublicAccessBlock = ("PUT", BUCKET, "publicAccessBlock")
    PutBucketReplication = ("PUT", BUCKET, "replication")
    PutBucketRequestPayment = ("PUT", BUCKET, "requestPayment")
    PutBucketTagging = ("PUT", BUCKET, "tagging")
    PutBucketVersioning = ("PUT", BUCKET, "versioning")
    PutBucketWebsite = ("PUT", BUCKET, "website")
    PostObject = ("POST", BUCKET, "")
    DeleteObjects = ("POST", BUCKET, "delete")
    CreateBucketMetadataConfiguration = ("POST", BUCKET, "metadataConfiguration")
    CreateBucketMetadataTableConfiguration = ("POST", BUCKET, "metadataTable")
    DeleteBucket = ("DELETE", BUCKET, "")
    DeleteBucketAnalyticsConfiguration = ("DELETE", BUCKET, "analytics")
    DeleteBucketCors = ("DELETE", BUCKET, "cors")
    DeleteBucketEncryption = ("DELETE", BUCKET, "encryption")
    DeleteBucketIntelligentTieringConfiguration = ("DELETE", BUCKET, "intelligent-tiering")
    DeleteBucketInventoryConfiguration = ("DELETE", BUCKET, "inventory")
    DeleteBucketLifecycle = ("DELETE", BUCKET, "lifecycle")
    DeleteBucketMetadataConfiguration = ("DELETE", BUCKET, "metadataConfiguration")
    DeleteBucketMetadataTableConfiguration = ("DELETE", BUCKET, "metadataTable")
    DeleteBucketMetricsConfiguration = ("DELETE", BUCKET, "metrics")
    DeleteBucketOwnershipControls = ("DELETE", BUCKET, "ownershipControls")
    DeleteBucketPolicy = ("DELETE", BUCKET, "policy")
    DeletePublicAccessBlock = ("DELETE", BUCKET, "publicAccessBlock")
    DeleteBucketReplication = ("DELETE", BUCKET, "replication")
    DeleteBucketTagging = ("DELETE", BUCKET, "tagging")
    DeleteBucketWebsite = ("DELETE", BUCKET, "website")
    PreflightBucket = ("OPTIONS", BUCKET, "")
    # --- objects
    GetObject = ("GET", OBJECT, "")
    GetObjectAcl = ("GET", OBJECT, "acl")
    GetObjectAnnotation = ("GET", OBJECT, "annotation")
    ListObjectAnnotations = ("GET", OBJECT, "annotation", "no annotationName")
    GetObjectAttributes = ("GET", OBJECT, "attributes")
    GetObjectLegalHold = ("GET", OBJECT, "legal-hold")
    GetObjectRetention = ("GET", OBJECT, "retention")
    GetObjectTagging = ("GET", OBJECT, "tagging")
    GetObjectTorrent = ("GET", OBJECT, "torrent")
    ListParts = ("GET", OBJECT, "uploadId")
    HeadObject = ("HEAD", OBJECT, "")
    PutObject = ("PUT", OBJECT, "")
    CopyObject = ("PUT", OBJECT, "", "x-amz-copy-source")
    PutObjectAcl = ("PUT", OBJECT, "acl")
    PutObjectAnnotation = ("PUT", OBJECT, "annotation")
    UpdateObjectEncryption = ("PUT", OBJECT, "encryption")
    PutObjectLegalHold = ("PUT", OBJECT, "legal-hold")
    RenameObject = ("PUT", OBJECT, "renameObject")
    PutObjectRetention = ("PUT", OBJECT, "retention")
    PutObjectTagging = ("PUT", OBJECT, "tagging")
    UploadPart = ("PUT", OBJECT, "uploadId")
    UploadPartCopy = ("PUT", OBJECT, "uploadId", "x-amz-copy-source")
    RestoreObject = ("POST", OBJECT, "restore")
    SelectObjectContent = ("POST", OBJECT, "select")
    CompleteMultipartUpload = ("POST", OBJECT, "uploadId")
    CreateMultipartUpload = ("POST", OBJECT, "uploads")
    DeleteObject = ("DELETE", OBJECT, "")
    DeleteObjectAnnotation = ("DELETE", OBJECT, "annotation")
    DeleteObjectTagging = ("DELETE", OBJECT, "tagging")
    AbortMultipartUpload = ("DELETE", OBJECT, "uploadId")
    PreflightObject = ("OPTIONS", OBJECT, "")

    def __init__(self, method: str, level: Level, subresource: str, detail: str = "") -> None:
        self.method = method
        self.level = level
        self.subresource = subresource
        self.detail = detail


METHODS = frozenset(operation.method for operation in Operation)

# (method, level) -> sub-resource -> operation, for the rows of three fields.
_TABLE: dict[tuple[str, Level], dict[str, Operation]] = {}
for _operation in Operation:
    if not _operation.detail:
        _TABLE.setdefault((_operation.method, _operation.level), {})[_operation.subresource] = (
            _operation
        )

_COPIES = {
    Operation.PutObject: Operation.CopyObject,
    Operation.UploadPart: Operation.UploadPartCopy,
}
# These get the one that a parameter names, or list all of them where it is missing: operation -> (parameter, its list).
_LISTS = {
    _TABLE[(_operation.method, _operation.level)][_operation.subresource]: (
        _operation.detail.removeprefix("no "),
        _operation,
    )
    for _operation in Operation
    if _operation.detail.startswith("no ")
}

# level -> every sub-resource any method has there.
_SUBRESOURCES = {
    level: {operation.subresource for operation in Operation if operation.level is level} - {""}
    for level in Level
}


def find_operation(
    method: str, level: Level, query: Mapping[str, str], headers: Mapping[str, str]
) -> Operation:
    """The operation asked for. Raises MethodNotAllowedError, ConflictingParametersError (two sub-resources at once),
    InvalidArgumentValueError (an unknown list type).
    """
    rows = _TABLE.get((method, level))
    if rows is None:
        raise MethodNotAllowedError(method=method, resource_type=level.value)
    operation = _by_subresource(method, level, query, rows) if query else rows.get("")
    if operation is None:
        raise MethodNotAllowedError(method=method, resource_type=level.value)
    if method == "PUT" and COPY_SOURCE in headers:
        return _COPIES.get(operation, operation)
    if query and operation in _LISTS:
        parameter, listing = _LISTS[operation]
        if parameter not in query:
            return listing
    return operation


def _by_subresource(
    method: str, level: Level, query: Mapping[str, str], rows: Mapping[str, Operation]
) -> Operation | None:
    named = [rows[name] for name in query if name and name in rows]
    if len(named) > 1:
        raise ConflictingParametersError(named[0].subresource, named[1].subresource)
    if not named:
        # `DELETE /bucket?versioning` must not delete the bucket, though versioning is only got and put; nor `GET /bucket?delete` list it.
        named_elsewhere = method not in {"HEAD", "OPTIONS"}
        unfit = named_elsewhere and not _SUBRESOURCES[level].isdisjoint(query)
        return None if unfit else rows.get("")
    if named[0] is Operation.ListObjectsV2 and query["list-type"] != "2":
        if query["list-type"] not in {"1", ""}:
            raise InvalidArgumentValueError(
                "Invalid List Type specified in Request", "list-type", query["list-type"]
            )
        return Operation.ListObjects
    return named[0]
