"""Messages for people about input that failed validation."""

from pydantic import ValidationError


def describe_errors(error: ValidationError) -> str:
    """Names each invalid field and the reason, on one line; never the field's value."""
    details = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, detail['loc'])) or 'as a whole'}: {detail['msg']}" for detail in details)
