"""What is wrong with something that a person wrote."""

from pydantic import ValidationError


def describe_errors(error: ValidationError) -> str:
    """Each field that is at fault and why, on one line; never what it holds."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'as a whole'}: {one['msg']}" for one in found)
