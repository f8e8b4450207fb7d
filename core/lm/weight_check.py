"""`python -m core.lm.weight_check DIRECTORY`: whether the weights of a directory are those of the model that its config
describes, without reading them. Says so as one JSON line; the API, which does not load torch, starts it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from core.lm.errors import CoreError
from core.lm.offline import OFFLINE
from core.schema.model_files import UnusableModel
from core.schema.models import WeightCheckResult

os.environ.update(OFFLINE, TRANSFORMERS_VERBOSITY="critical")


def main(arguments: Sequence[str]) -> int:
    print(examined(Path(arguments[0])).model_dump_json())
    return 0


def examined(directory: Path) -> WeightCheckResult:
    """What keeps the model from being loaded, if anything, in words for whoever registers it."""
    # only now: importing torch and transformers takes seconds, and reads the environment
    from core.lm.model import context_of, read_config, tokenizer_of
    from core.lm.weight_names import refuse_misfit_of_files, unloadable

    try:
        refuse_misfit_of_files(directory, read_config(directory))
        tokenizer_of(directory)
        return WeightCheckResult(context=context_of(directory))
    except CoreError as error:
        return WeightCheckResult(error=error.message)
    except UnusableModel as error:
        return WeightCheckResult(error=str(error))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a malformed file may make any library below raise anything
        return WeightCheckResult(error=unloadable(directory, error).message)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
