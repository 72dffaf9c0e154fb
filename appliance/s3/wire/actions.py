"""What each operation needs to be allowed: a total table from operation to IAM action, and to the grants of ACLs that give it too.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html ("Permissions" of each operation) and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#acl-access-policy-permission-mapping

Operations that this product has not are here too: who may not do a thing is told so before it is told that the thing does not exist.
Deliberately absent: what a copy reads (it is asked for as a GetObject), and the keys of DeleteObjects (each is a DeleteObject).
"""

from __future__ import annotations

from appliance.policy.access.acl import Permission
from appliance.policy.access.decide import Need
from appliance.s3.wire.object_lock import LEGAL_HOLD, RETENTION, asks_for_bypass
from appliance.s3.wire.operations import Operation as Op
from appliance.s3.wire.request import S3Request

_READ, _WRITE = Permission.READ, Permission.WRITE


def _get(name: str, by_bucket: Permission | None = None) -> tuple[Need, ...]:
    """Reads something of a bucket."""
    return (Need(action=f"s3:{name}", by_bucket=by_bucket),)


def _put(name: str, by_bucket: Permission | None = None) -> tuple[Need, ...]:
    """Changes something of a bucket, or makes or removes an object in it."""
    return (Need(action=f"s3:{name}", writes=True, by_bucket=by_bucket),)


def _get_object(*names: str, by_object: Permission | None = None) -> tuple[Need, ...]:
    """Reads something of an object."""
    return tuple(Need(action=f"s3:{name}", by_object=by_object, of_object=True) for name in names)


def _put_object(name: str, by_object: Permission | None = None) -> tuple[Need, ...]:
    """Changes something of an object that is there."""
    return (Need(action=f"s3:{name}", writes=True, by_object=by_object, of_object=True),)


# Anybody with an account may ask; who it is decides what the answer is.
_ACCOUNT: tuple[Need, ...] = ()
# Says who asks, or what for, only by its content; or nothing about anybody.
_OPEN: tuple[Need, ...] = ()

NEEDS: dict[Op, tuple[Need, ...]] = {
    Op.ListBuckets: _ACCOUNT,
    Op.CreateBucket: _ACCOUNT,
    Op.PreflightBucket: _OPEN,
    Op.PreflightObject: _OPEN,
    Op.PostObject: _OPEN,
    # --- buckets
    Op.ListObjects: _get("ListBucket", _READ),
    Op.ListObjectsV2: _get("ListBucket", _READ),
    Op.ListObjectVersions: _get("ListBucketVersions", _READ),
    Op.ListMultipartUploads: _get("ListBucketMultipartUploads", _READ),
    Op.HeadBucket: _get("ListBucket", _READ),
    Op.DeleteBucket: _put("DeleteBucket"),
    Op.DeleteObjects: _OPEN,  # each of its keys is asked for
    Op.CreateSession: _put("CreateSession"),
    Op.GetBucketLocation: _get("GetBucketLocation"),
    Op.GetBucketAbac: _get("GetBucketAbac"),
    Op.PutBucketAbac: _put("PutBucketAbac"),
    Op.GetBucketAccelerateConfiguration: _get("GetAccelerateConfiguration"),
    Op.PutBucketAccelerateConfiguration: _put("PutAccelerateConfiguration"),
    Op.GetBucketAcl: _get("GetBucketAcl", Permission.READ_ACP),
    Op.PutBucketAcl: _put("PutBucketAcl", Permission.WRITE_ACP),
    Op.GetBucketAnalyticsConfiguration: _get("GetAnalyticsConfiguration"),
    Op.ListBucketAnalyticsConfigurations: _get("GetAnalyticsConfiguration"),
    Op.PutBucketAnalyticsConfiguration: _put("PutAnalyticsConfiguration"),
    Op.DeleteBucketAnalyticsConfiguration: _put("PutAnalyticsConfiguration"),
    Op.GetBucketCors: _get("GetBucketCORS"),
    Op.PutBucketCors: _put("PutBucketCORS"),
    Op.DeleteBucketCors: _put("PutBucketCORS"),
    Op.GetBucketEncryption: _get("GetEncryptionConfiguration"),
    Op.PutBucketEncryption: _put("PutEncryptionConfiguration"),
    Op.DeleteBucketEncryption: _put("PutEncryptionConfiguration"),
    Op.GetBucketIntelligentTieringConfiguration: _get("GetIntelligentTieringConfiguration"),
    Op.ListBucketIntelligentTieringConfigurations: _get("GetIntelligentTieringConfiguration"),
    Op.PutBucketIntelligentTieringConfiguration: _put("PutIntelligentTieringConfiguration"),
    Op.DeleteBucketIntelligentTieringConfiguration: _put("PutIntelligentTieringConfiguration"),
    Op.GetBucketInventoryConfiguration: _get("GetInventoryConfiguration"),
    Op.ListBucketInventoryConfigurations: _get("GetInventoryConfiguration"),
    Op.PutBucketInventoryConfiguration: _put("PutInventoryConfiguration"),
    Op.DeleteBucketInventoryConfiguration: _put("PutInventoryConfiguration"),
    Op.GetBucketLifecycleConfiguration: _get("GetLifecycleConfiguration"),
    Op.PutBucketLifecycleConfiguration: _put("PutLifecycleConfiguration"),
    Op.DeleteBucketLifecycle: _put("PutLifecycleConfiguration"),
    Op.GetBucketLogging: _get("GetBucketLogging"),
    Op.PutBucketLogging: _put("PutBucketLogging"),
    Op.GetBucketMetadataConfiguration: _get("GetBucketMetadataTableConfiguration"),
    Op.CreateBucketMetadataConfiguration: _put("CreateBucketMetadataTableConfiguration"),
    Op.DeleteBucketMetadataConfiguration: _put("DeleteBucketMetadataTableConfiguration"),
    Op.GetBucketMetadataTableConfiguration: _get("GetBucketMetadataTableConfiguration"),
    Op.CreateBucketMetadataTableConfiguration: _put("CreateBucketMetadataTableConfiguration"),
    Op.DeleteBucketMetadataTableConfiguration: _put("DeleteBucketMetadataTableConfiguration"),
    Op.UpdateBucketMetadataAnnotationTableConfiguration: _put(
        "CreateBucketMetadataTableConfiguration"
    ),
    Op.UpdateBucketMetadataInventoryTableConfiguration: _put(
        "UpdateBucketMetadataInventoryTableConfiguration"
    ),
    Op.UpdateBucketMetadataJournalTableConfiguration: _put(
        "UpdateBucketMetadataJournalTableConfiguration"
    ),
    Op.GetBucketMetricsConfiguration: _get("GetMetricsConfiguration"),
    Op.ListBucketMetricsConfigurations: _get("GetMetricsConfiguration"),
    Op.PutBucketMetricsConfiguration: _put("PutMetricsConfiguration"),
    Op.DeleteBucketMetricsConfiguration: _put("PutMetricsConfiguration"),
    Op.GetBucketNotificationConfiguration: _get("GetBucketNotification"),
    Op.PutBucketNotificationConfiguration: _put("PutBucketNotification"),
    Op.GetObjectLockConfiguration: _get("GetBucketObjectLockConfiguration"),
    Op.PutObjectLockConfiguration: _put("PutBucketObjectLockConfiguration"),
    Op.GetBucketOwnershipControls: _get("GetBucketOwnershipControls"),
    Op.PutBucketOwnershipControls: _put("PutBucketOwnershipControls"),
    Op.DeleteBucketOwnershipControls: _put("PutBucketOwnershipControls"),
    Op.GetBucketPolicy: _get("GetBucketPolicy"),
    Op.PutBucketPolicy: _put("PutBucketPolicy"),
    Op.DeleteBucketPolicy: _put("DeleteBucketPolicy"),
    Op.GetBucketPolicyStatus: _get("GetBucketPolicyStatus"),
    Op.GetPublicAccessBlock: _get("GetBucketPublicAccessBlock"),
    Op.PutPublicAccessBlock: _put("PutBucketPublicAccessBlock"),
    Op.DeletePublicAccessBlock: _put("PutBucketPublicAccessBlock"),
    Op.GetBucketReplication: _get("GetReplicationConfiguration"),
    Op.PutBucketReplication: _put("PutReplicationConfiguration"),
    Op.DeleteBucketReplication: _put("PutReplicationConfiguration"),
    Op.GetBucketRequestPayment: _get("GetBucketRequestPayment"),
    Op.PutBucketRequestPayment: _put("PutBucketRequestPayment"),
    Op.GetBucketTagging: _get("GetBucketTagging"),
    Op.PutBucketTagging: _put("PutBucketTagging"),
    Op.DeleteBucketTagging: _put("PutBucketTagging"),
    Op.GetBucketVersioning: _get("GetBucketVersioning"),
    Op.PutBucketVersioning: _put("PutBucketVersioning"),
    Op.GetBucketWebsite: _get("GetBucketWebsite"),
    Op.PutBucketWebsite: _put("PutBucketWebsite"),
    Op.DeleteBucketWebsite: _put("DeleteBucketWebsite"),
    # --- objects
    Op.GetObject: _get_object("GetObject", by_object=_READ),
    Op.HeadObject: _get_object("GetObject", by_object=_READ),
    Op.GetObjectAttributes: _get_object("GetObject", "GetObjectAttributes", by_object=_READ),
    Op.GetObjectTorrent: _get_object("GetObjectTorrent", by_object=_READ),
    Op.SelectObjectContent: _get_object("GetObject", by_object=_READ),
    Op.GetObjectAcl: _get_object("GetObjectAcl", by_object=Permission.READ_ACP),
    Op.PutObjectAcl: _put_object("PutObjectAcl", by_object=Permission.WRITE_ACP),
    Op.GetObjectTagging: _get_object("GetObjectTagging"),
    Op.PutObjectTagging: _put_object("PutObjectTagging"),
    Op.DeleteObjectTagging: _put_object("DeleteObjectTagging"),
    Op.GetObjectAnnotation: _get_object("GetObjectAnnotation"),
    Op.ListObjectAnnotations: _get_object("ListObjectAnnotations"),
    Op.PutObjectAnnotation: _put_object("PutObjectAnnotation"),
    Op.DeleteObjectAnnotation: _put_object("DeleteObjectAnnotation"),
    Op.GetObjectLegalHold: _get_object("GetObjectLegalHold"),
    Op.PutObjectLegalHold: _put_object("PutObjectLegalHold"),
    Op.GetObjectRetention: _get_object("GetObjectRetention"),
    Op.PutObjectRetention: _put_object("PutObjectRetention"),
    Op.UpdateObjectEncryption: _put_object("UpdateObjectEncryption"),
    Op.RestoreObject: _put_object("RestoreObject"),
    Op.RenameObject: _put("RenameObject"),
    Op.PutObject: _put("PutObject", _WRITE),
    Op.CopyObject: _put("PutObject", _WRITE),
    Op.CreateMultipartUpload: _put("PutObject", _WRITE),
    Op.UploadPart: _put("PutObject", _WRITE),
    Op.UploadPartCopy: _put("PutObject", _WRITE),
    Op.CompleteMultipartUpload: _put("PutObject", _WRITE),
    # Whoever may write, and knows the upload id, which nobody can guess.
    Op.AbortMultipartUpload: _put("AbortMultipartUpload", _WRITE),
    Op.ListParts: _get("ListMultipartUploadParts", _WRITE),
    Op.DeleteObject: _put("DeleteObject", _WRITE),
}

# These need somebody with an account, and have no bucket whose policy could speak.
OF_ACCOUNTS = frozenset({Op.ListBuckets, Op.CreateBucket})
# These are judged by what is in them, or by nothing.
UNJUDGED = frozenset({Op.PreflightBucket, Op.PreflightObject, Op.PostObject})
# Of these it matters whose the object is.
OF_OBJECTS = frozenset(op for op, needs in NEEDS.items() if any(need.of_object for need in needs))
# Of what a request with a version id does, the name is another.
_OF_VERSIONS = {
    f"s3:{name}": f"s3:{name.replace('Object', 'ObjectVersion', 1)}"
    for name in (
        "GetObject",
        "GetObjectAcl",
        "GetObjectAttributes",
        "GetObjectTagging",
        "GetObjectTorrent",
        "PutObjectAcl",
        "PutObjectTagging",
        "DeleteObject",
        "DeleteObjectTagging",
    )
}
_MAKES_OBJECT = frozenset({Op.PutObject, Op.CopyObject, Op.CreateMultipartUpload})
# Who may put an object may say whose it is to be: policies that want full control for the bucket's owner allow no more than PutObject.
_SETS_ACL = Need(action="s3:PutObjectAcl", writes=True, implied=True)
_SETS_TAGS = Need(action="s3:PutObjectTagging", writes=True, by_bucket=_WRITE)
_RETAINS = Need(action="s3:PutObjectRetention", writes=True)
_HOLDS = Need(action="s3:PutObjectLegalHold", writes=True)
# Whether or not anything keeps the object: that is known to the upstream only.
_BYPASSES = Need(action="s3:BypassGovernanceRetention", writes=True)
_BYPASSING = frozenset({Op.PutObjectRetention, Op.DeleteObject})
_DELETE = NEEDS[Op.DeleteObject][0]
_DELETE_VERSION = Need(action="s3:DeleteObjectVersion", writes=True)
LIST_NEED = NEEDS[Op.ListObjects][0]


def needs_of(request: S3Request) -> tuple[Need, ...]:
    """All that a request needs; none for what is not judged by `decide`."""
    needs = NEEDS[request.operation]
    if request.key and request.query.get("versionId"):
        needs = tuple(of_version(need) for need in needs)
    if request.operation in _MAKES_OBJECT:
        headers = request.headers
        if "x-amz-acl" in headers or any(name.startswith("x-amz-grant-") for name in headers):
            needs += (_SETS_ACL,)
        if headers.get("x-amz-tagging"):
            needs += (_SETS_TAGS,)
        if not RETENTION.isdisjoint(headers):
            needs += (_RETAINS,)
        if LEGAL_HOLD in headers:
            needs += (_HOLDS,)
    if request.operation in _BYPASSING and asks_for_bypass(request.headers):
        needs += (_BYPASSES,)
    return needs


def of_version(need: Need) -> Need:
    """The same of one version by its id. No grant of a bucket lets anybody remove versions."""
    action = _OF_VERSIONS.get(need.action)
    if action is None:
        return need
    if need is _DELETE:
        return _DELETE_VERSION
    return Need(
        action=action, writes=need.writes, by_object=need.by_object, of_object=need.of_object
    )
