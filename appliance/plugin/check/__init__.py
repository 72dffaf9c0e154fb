"""The conformance kit: what `appliance.plugin.Backend` promises, as checks that run on any backend. Start with `check_backend`."""

from appliance.plugin.check.expect import ViolationError
from appliance.plugin.check.kit import CHECKS, NotConformingError, check_backend, run_check
from appliance.plugin.check.trial import Allowances, Check, Trial, open_trial

__all__ = [
    "CHECKS",
    "Allowances",
    "Check",
    "NotConformingError",
    "Trial",
    "ViolationError",
    "check_backend",
    "open_trial",
    "run_check",
]
