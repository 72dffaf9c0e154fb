"""What can end a connection. What is wrong with a request is told by `appliance.s3.wire.errors`."""

from __future__ import annotations


class ClientGoneError(Exception):
    """The client closed or reset the connection, or takes no bytes: there is nobody to answer."""


class ResponseCutError(Exception):
    """A response could not be sent whole; the handler was told why."""


class TruncatedFileError(Exception):
    """A body ended before the bytes that its head promised: the connection is cut, so that nobody takes the part for the whole."""
