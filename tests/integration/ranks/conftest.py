from tests.integration.pipeline.conftest import spec
from tests.tiny_model import tiny_model

__all__ = ["spec", "tiny_model"]
