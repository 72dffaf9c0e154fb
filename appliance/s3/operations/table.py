"""Which function answers which operation. What is not here is passed on, where the backend can (`forwarding.FORWARDED`), else answered
NotImplemented; docs/S3.md lists all three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from appliance.model.errors import UnsupportedError
from appliance.s3.http.response import Response
from appliance.s3.operations import (
    acls,
    attributes,
    bucket_tagging,
    buckets,
    copying,
    listing,
    multipart,
    policies,
    posting,
    reading,
    sharing,
    tagging,
    writing,
)
from appliance.s3.operations.call import Call, Operate
from appliance.s3.operations.encrypting import ENCRYPTED
from appliance.s3.operations.forwarding import FORWARDED, forwarded, put_locked
from appliance.s3.wire.encryption import asks_for_customer_key
from appliance.s3.wire.object_lock import OBJECT_LOCK
from appliance.s3.wire.operations import Operation

# What may be answered without waiting for anything; None from one of these means: ask the function below.
NOWAIT: dict[Operation, Callable[[Call], Response | None]] = {
    Operation.GetObject: reading.get_object_nowait,
    Operation.HeadObject: reading.head_object_nowait,
}

# What comes without a signature by its nature: preflights of browsers, and their forms, in which it is a field.
UNSIGNED = frozenset({Operation.PreflightBucket, Operation.PreflightObject, Operation.PostObject})

OPERATIONS: dict[Operation, Operate] = {
    Operation.ListBuckets: buckets.list_buckets,
    Operation.CreateBucket: buckets.create_bucket,
    Operation.HeadBucket: buckets.head_bucket,
    Operation.DeleteBucket: buckets.delete_bucket,
    Operation.GetBucketAcl: acls.get_bucket_acl,
    Operation.PutBucketAcl: acls.put_bucket_acl,
    Operation.GetBucketPolicy: policies.get_bucket_policy,
    Operation.PutBucketPolicy: policies.put_bucket_policy,
    Operation.DeleteBucketPolicy: policies.delete_bucket_policy,
    Operation.GetBucketPolicyStatus: policies.get_bucket_policy_status,
    Operation.GetBucketOwnershipControls: policies.get_bucket_ownership_controls,
    Operation.PutBucketOwnershipControls: policies.put_bucket_ownership_controls,
    Operation.DeleteBucketOwnershipControls: policies.delete_bucket_ownership_controls,
    Operation.GetPublicAccessBlock: policies.get_public_access_block,
    Operation.PutPublicAccessBlock: policies.put_public_access_block,
    Operation.DeletePublicAccessBlock: policies.delete_public_access_block,
    Operation.GetObjectAcl: acls.get_object_acl,
    Operation.PutObjectAcl: acls.put_object_acl,
    Operation.GetBucketLocation: buckets.get_bucket_location,
    Operation.GetBucketVersioning: buckets.get_bucket_versioning,
    Operation.PutBucketVersioning: buckets.put_bucket_versioning,
    Operation.GetBucketCors: sharing.get_bucket_cors,
    Operation.PutBucketCors: sharing.put_bucket_cors,
    Operation.DeleteBucketCors: sharing.delete_bucket_cors,
    Operation.PreflightBucket: sharing.preflighted,
    Operation.PreflightObject: sharing.preflighted,
    Operation.GetBucketTagging: bucket_tagging.get_bucket_tagging,
    Operation.PutBucketTagging: bucket_tagging.put_bucket_tagging,
    Operation.DeleteBucketTagging: bucket_tagging.delete_bucket_tagging,
    Operation.ListObjects: listing.list_objects,
    Operation.ListObjectsV2: listing.list_objects_v2,
    Operation.ListObjectVersions: listing.list_object_versions,
    Operation.GetObject: reading.get_object,
    Operation.HeadObject: reading.head_object,
    Operation.GetObjectAttributes: attributes.get_object_attributes,
    Operation.PutObject: writing.put_object,
    Operation.PostObject: posting.post_object,
    Operation.CopyObject: copying.copy_object,
    Operation.DeleteObject: writing.delete_object,
    Operation.DeleteObjects: writing.delete_objects,
    Operation.GetObjectTagging: tagging.get_object_tagging,
    Operation.PutObjectTagging: tagging.put_object_tagging,
    Operation.DeleteObjectTagging: tagging.delete_object_tagging,
    Operation.CreateMultipartUpload: multipart.create_multipart_upload,
    Operation.UploadPart: multipart.upload_part,
    Operation.UploadPartCopy: copying.upload_part_copy,
    Operation.ListParts: multipart.list_parts,
    Operation.ListMultipartUploads: multipart.list_multipart_uploads,
    Operation.CompleteMultipartUpload: multipart.complete_multipart_upload,
    Operation.AbortMultipartUpload: multipart.abort_multipart_upload,
}


def operation_of(call: Call, operations: Mapping[Operation, Operate]) -> Operate:
    """What answers this call."""
    operation = call.request.operation
    if operation in ENCRYPTED and asks_for_customer_key(call.headers):
        return ENCRYPTED[operation]
    if operation is Operation.PutObject and not OBJECT_LOCK.isdisjoint(call.headers):
        return put_locked
    found = operations.get(operation)
    if found is not None:
        return found
    return forwarded if operation in FORWARDED else _not_here


async def _not_here(call: Call) -> Response:
    """What S3 has and this product has not: told to those who might use it."""
    raise UnsupportedError(
        f"The operation {call.request.operation.name} is not implemented here.",
        bucket=call.bucket,
        key=call.key,
    )
