"""Who signed the policy of a browser upload: the signature is a field of the form, and of the policy alone.

Version 2 of the signature is taken too, as for presigned URLs: it is what boto3 makes for forms unless told otherwise.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/HTTPPOSTForms.html
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping

from appliance.auth.credentials import Credentials, CredentialStore
from appliance.auth.errors import (
    AuthorizationQueryError,
    FormFieldError,
    InvalidAccessKeyError,
    SecurityTokenError,
    SignatureMismatchError,
    SignatureVersionError,
)
from appliance.auth.identity import ANONYMOUS, Identity
from appliance.auth.signing import (
    ALGORITHM,
    SERVICE,
    TERMINATOR,
    equal,
    request_signature,
    signing_key,
)

_SIGNED = ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
_OLD = ("awsaccesskeyid", "signature")


def verify_form(credentials: CredentialStore, fields: Mapping[str, str], region: str) -> Identity:
    """Whose form this is; ANONYMOUS where it is nobody's. `fields` have lower-case names; `region` "" accepts any.

    Raises AuthError of the fitting kind. Whether the policy allows the form, and until when, is not judged here.
    """
    if "x-amz-security-token" in fields:
        raise SecurityTokenError("Session tokens are not supported here: sign with long-term keys.")
    new = any(name in fields for name in _SIGNED)
    if not new and any(name in fields for name in _OLD):
        return _verify_version_2(credentials, fields)
    if "policy" not in fields and not new:
        return ANONYMOUS
    _check_complete(fields, ("policy", *_SIGNED))
    if fields["x-amz-algorithm"] != ALGORITHM:
        raise SignatureVersionError
    access_key, date, signed_region = _scope(fields["x-amz-credential"], region)
    if not fields["x-amz-date"].startswith(date):
        raise AuthorizationQueryError("The date of x-amz-credential is not that of x-amz-date.")
    found = _credentials(credentials, access_key)
    policy = fields["policy"]
    key = signing_key(found.secret_key, date, signed_region)
    # What is not base64, which is ASCII, nobody can have signed.
    if not policy.isascii() or not equal(request_signature(key, policy), fields["x-amz-signature"]):
        raise SignatureMismatchError(AWSAccessKeyId=access_key, StringToSign=policy)
    return found.identity


def _verify_version_2(credentials: CredentialStore, fields: Mapping[str, str]) -> Identity:
    """HMAC-SHA1 of the policy as it is sent, in base64."""
    _check_complete(fields, ("policy", *_OLD))
    found = _credentials(credentials, fields["awsaccesskeyid"])
    policy = fields["policy"]
    computed = base64.b64encode(
        hmac.digest(found.secret_key.encode(), policy.encode("utf-8", "surrogateescape"), "sha1")
    )
    if not equal(computed.decode("ascii"), fields["signature"]):
        raise SignatureMismatchError(AWSAccessKeyId=found.access_key, StringToSign=policy)
    return found.identity


def _check_complete(fields: Mapping[str, str], names: tuple[str, ...]) -> None:
    for name in names:
        if not fields.get(name):
            raise FormFieldError(
                f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields.",
                ArgumentName=name,
            )


def _credentials(credentials: CredentialStore, access_key: str) -> Credentials:
    found = credentials.lookup(access_key)
    if found is None:
        raise InvalidAccessKeyError(AWSAccessKeyId=access_key)
    return found


def _scope(credential: str, region: str) -> tuple[str, str, str]:
    """Access key, date and region of a credential."""
    fields = credential.rsplit("/", 4)
    if len(fields) != 5 or not fields[0] or fields[3:] != [SERVICE, TERMINATOR]:
        raise AuthorizationQueryError(
            'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
        )
    access_key, date, signed_region = fields[:3]
    if len(date) != 8 or not (date.isascii() and date.isdigit()):
        raise AuthorizationQueryError(f'Invalid credential date "{date}".')
    if region and signed_region != region:
        raise AuthorizationQueryError(
            f"the region '{signed_region}' is wrong; expecting '{region}'", Region=region
        )
    return access_key, date, signed_region
