"""The journal: what happened on this node, and the index of the cache that follows from it (`docs/decisions/0003-journal.md`)."""

from appliance.journal.entry import Entry
from appliance.journal.journal import Journal

__all__ = ["Entry", "Journal"]
