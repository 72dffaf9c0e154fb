"""The one place that constructs and wires."""

from appliance.assembly.node import Started, run

__all__ = ["Started", "run"]
