"""An attempt's folder is made, whatever removes the remains of earlier attempts at the same moment."""

import threading
from pathlib import Path

from worker.scratch import Scratch, remove_folder


async def test_an_attempt_begins_while_the_folder_of_an_earlier_one_is_removed(tmp_path: Path) -> None:
    over = threading.Event()

    def remove_again_and_again() -> None:
        while not over.is_set():
            remove_folder(tmp_path / "job-1" / "1")

    remover = threading.Thread(target=remove_again_and_again)
    remover.start()
    try:
        for _ in range(300):
            async with Scratch(tmp_path, "job-1", 2) as scratch:
                assert scratch.temporary.is_dir()
    finally:
        over.set()
        remover.join()
