"""`Errno`: how the mount's own decisions say no. Domain errors and the staging disk's OSErrors are translated where they leave the
mount."""

from __future__ import annotations

import os


class Errno(Exception):  # noqa: N818  # it is not always an error: ENOENT and ENODATA are answers
    """Answer the system call with this errno."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number
