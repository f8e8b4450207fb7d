"""`python -m core.lm.weight_check DIRECTORY` checks that a directory's weights fit the model that its config describes.

It does not read the weights, and prints its result as one JSON line. The API, which does not load torch, starts it.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from core.lm.errors import CoreError
from core.lm.offline import OFFLINE
from core.schema.model_files import UnusableModel
from core.schema.models import WeightCheckResult


def main(arguments: Sequence[str]) -> int:
    os.environ.update(OFFLINE, TRANSFORMERS_VERBOSITY="critical")
    print(check_weights(Path(arguments[0])).model_dump_json())
    return 0


def check_weights(directory: Path) -> WeightCheckResult:
    """Returns the model's context, or the reason why it cannot be loaded, in words for the person who registers it."""
    # imported here, since torch and transformers read the environment as they are imported
    from core.lm.model import load_tokenizer, read_config, read_context_length
    from core.lm.weight_names import loading_error, refuse_misfitting_files

    try:
        refuse_misfitting_files(directory, read_config(directory))
        load_tokenizer(directory)
        return WeightCheckResult(context=read_context_length(directory))
    except CoreError as error:
        return WeightCheckResult(error=error.message)
    except UnusableModel as error:
        return WeightCheckResult(error=str(error))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a malformed file may make any library below raise anything
        return WeightCheckResult(error=loading_error(directory, error).message)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
