"""Who may do what: policies, ACLs, ownership and the public access block, all pure. `decide` is the one judge (`docs/ACCESS.md`)."""

from appliance.policy.access.bucket import BucketAccess, bucket_access
from appliance.policy.access.decide import Allow, Caller, Deny, Facts, Need, ObjectAccess, decide

__all__ = [
    "Allow",
    "BucketAccess",
    "Caller",
    "Deny",
    "Facts",
    "Need",
    "ObjectAccess",
    "bucket_access",
    "decide",
]
