"""The actions of S3 that policies speak of, and what a pattern among them names.

Actions of operations that this product has not are here too: a policy written for AWS may name them, and it means what it says.
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from __future__ import annotations

from appliance.policy.access.patterns import matcher

_NAMES = """
AbortMultipartUpload BypassGovernanceRetention CreateBucket CreateBucketMetadataTableConfiguration
DeleteBucket DeleteBucketMetadataTableConfiguration DeleteBucketOwnershipControls DeleteBucketPolicy DeleteBucketPublicAccessBlock
DeleteBucketWebsite DeleteObject DeleteObjectTagging DeleteObjectVersion DeleteObjectVersionTagging
GetAccelerateConfiguration GetAnalyticsConfiguration GetBucketAcl GetBucketCORS GetBucketLocation GetBucketLogging
GetBucketMetadataTableConfiguration GetBucketNotification GetBucketObjectLockConfiguration GetBucketOwnershipControls GetBucketPolicy
GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketRequestPayment GetBucketTagging GetBucketVersioning GetBucketWebsite
GetEncryptionConfiguration GetIntelligentTieringConfiguration GetInventoryConfiguration GetLifecycleConfiguration GetMetricsConfiguration
GetObject GetObjectAcl GetObjectAttributes GetObjectLegalHold GetObjectRetention GetObjectTagging GetObjectTorrent GetObjectVersion
GetObjectVersionAcl GetObjectVersionAttributes GetObjectVersionForReplication GetObjectVersionTagging GetObjectVersionTorrent
GetReplicationConfiguration InitiateReplication ListAllMyBuckets ListBucket ListBucketMultipartUploads ListBucketVersions
ListMultipartUploadParts ObjectOwnerOverrideToBucketOwner PutAccelerateConfiguration PutAnalyticsConfiguration PutBucketAcl PutBucketCORS
PutBucketLogging PutBucketNotification PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy
PutBucketPublicAccessBlock PutBucketRequestPayment PutBucketTagging PutBucketVersioning PutBucketWebsite PutEncryptionConfiguration
PutIntelligentTieringConfiguration PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration PutObject PutObjectAcl
PutObjectLegalHold PutObjectRetention PutObjectTagging PutObjectVersionAcl PutObjectVersionTagging PutReplicationConfiguration
ReplicateDelete ReplicateObject ReplicateTags RestoreObject UpdateBucketMetadataInventoryTableConfiguration
UpdateBucketMetadataJournalTableConfiguration UpdateObjectEncryption GetBucketAbac PutBucketAbac CreateSession GetObjectAnnotation
PutObjectAnnotation DeleteObjectAnnotation ListObjectAnnotations RenameObject
"""

ACTIONS = frozenset(f"s3:{name}" for name in _NAMES.split())
_LOWER = {action.lower(): action for action in ACTIONS}

# What nobody can be locked out of who must be able to repair a policy: the bucket's owner, and those who may do all.
POLICY_ACTIONS = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})


def matching_actions(pattern: str) -> frozenset[str]:
    """The actions that a pattern, in any case, names; none where it names nothing that S3 has."""
    lower = pattern.lower()
    if "*" not in lower and "?" not in lower:
        return frozenset({_LOWER[lower]}) if lower in _LOWER else frozenset()
    if lower != "*" and not lower.startswith("s3:"):
        return frozenset()
    fits = matcher(lower)
    return frozenset(action for name, action in _LOWER.items() if fits(name))
