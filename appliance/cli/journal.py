"""`appliance journal`: read the journal of a node, running or not."""

from __future__ import annotations
