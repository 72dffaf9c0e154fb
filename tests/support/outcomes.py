"""For tests that feed anything at all to a parser: what came of it, a value or a domain error, and nothing else."""

from appliance.model.errors import ApplianceError


def outcome(function, *arguments, **options):
    """The value, or the domain error (which must be a sentence); anything else propagates and fails the test."""
    try:
        return function(*arguments, **options)
    except ApplianceError as error:
        if not str(error):
            raise AssertionError(f"{type(error).__name__} says nothing") from error
        return error
