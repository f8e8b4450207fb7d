"""Units of a parallel test run: a file, or a folder whose tests share a slow setup. One process runs each."""

from xdist.scheduler import LoadFileScheduling

UNDIVIDED = ("tests/integration/reports/", "tests/integration/statements/")
"""Folders whose tests share a real job: in two processes it would run twice."""


class WorkUnits(LoadFileScheduling):
    """Hands out files, and the undivided folders."""

    def _split_scope(self, nodeid: str) -> str:
        folder = next((folder for folder in UNDIVIDED if nodeid.startswith(folder)), None)
        return super()._split_scope(nodeid) if folder is None else folder
