"""The one language of both wings: pydantic models without torch and without SQL."""
