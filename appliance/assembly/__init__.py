"""The one place that constructs and wires."""

from appliance.assembly.node import Started, run
from appliance.assembly.wiring import check

__all__ = ["Started", "check", "run"]
