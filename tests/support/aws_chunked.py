"""aws-chunked bodies as clients make them: signed per chunk or not, with trailers or not."""

import hashlib

from appliance.auth.identity import Authentication, Identity
from appliance.auth.signing import chunk_signature, trailer_signature
from appliance.auth.sigv4 import STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER

SEED = "5" * 64
KEY = b"k" * 32
TIMESTAMP = "20261120T120000Z"
SCOPE = "20261120/us-east-1/s3/aws4_request"


def authentication(payload, *, signature=SEED, key=KEY, timestamp=TIMESTAMP, scope=SCOPE):
    """What a verifier would hand over for a request with such a body."""
    return Authentication(
        identity=Identity(account_id="0" * 64, display_name="root", access_key="ak"),
        payload=payload,
        presigned=False,
        signature=signature,
        signing_key=key,
        scope=scope,
        timestamp=timestamp,
    )


def encode(facts, chunks, trailers=()):
    """The body that carries `chunks` (no empty one) and `trailers` (pairs), signed as `facts` ask for."""
    signed = facts.payload != STREAMING_UNSIGNED_TRAILER
    previous = facts.signature
    out = bytearray()
    for chunk in [*chunks, b""]:
        out += b"%x" % len(chunk)
        if signed:
            digest = hashlib.sha256(chunk).hexdigest()
            previous = chunk_signature(
                facts.signing_key, facts.timestamp, facts.scope, previous, digest
            )
            out += b";chunk-signature=" + previous.encode()
        out += b"\r\n"
        if chunk:
            out += chunk + b"\r\n"
    for name, value in trailers:
        out += f"{name}:{value}\r\n".encode()
    if facts.payload == STREAMING_SIGNED_TRAILER:
        text = "".join(f"{name}:{value}\n" for name, value in trailers)
        digest = hashlib.sha256(text.encode()).hexdigest()
        signature = trailer_signature(
            facts.signing_key, facts.timestamp, facts.scope, previous, digest
        )
        out += f"x-amz-trailer-signature:{signature}\r\n".encode()
    return bytes(out + b"\r\n")
