"""The configuration: one TOML file, checked whole before anything starts."""

from appliance.config.load import load
from appliance.config.schema import Config

__all__ = ["Config", "load"]
