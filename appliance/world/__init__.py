"""The outside world as the product sees it: clocks, threads, randomness. Real here, simulated in tests (`tests/simulated`)."""

from appliance.world.real import RealWorld
from appliance.world.world import Lane, World

__all__ = ["Lane", "RealWorld", "World"]
