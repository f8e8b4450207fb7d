"""Processes of an `unlearn up` that was killed: recorded while they run, ended by the next `up` or `down`."""

import json

import psutil

from api.cli.data_folder import DataFolder

_SECONDS = 10.0
"""How long a process may take to end on SIGTERM."""


class StaleProcesses:
    """The data folder's record of processes.

    A process is recorded by its id and its start time, so that no unrelated process with a reused id is ended.
    """

    def __init__(self, data_folder: DataFolder) -> None:
        self._file = data_folder.path / "processes.json"

    def add(self, name: str, pid: int) -> None:
        """Records a process that was just started."""
        recorded = self._read() | {name: [pid, psutil.Process(pid).create_time()]}
        self._file.write_text(json.dumps(recorded))

    def clear(self) -> None:
        """Deletes the record, after the processes were ended in good order."""
        self._file.unlink(missing_ok=True)

    def process(self, name: str) -> psutil.Process | None:
        """Returns the recorded process, or None where it no longer runs."""
        pid, start_time = self._read().get(name, (0.0, 0.0))
        try:
            process = psutil.Process(int(pid)) if pid else None
            return process if process is not None and process.create_time() == start_time else None
        except psutil.NoSuchProcess:
            return None

    def terminate(self) -> list[str]:
        """Ends the processes that still run, SIGTERM first; returns their names. The caller holds the folder's lock."""
        processes = {}
        for name in self._read():
            try:
                if (process := self.process(name)) is not None:
                    process.terminate()
                    processes[name] = process
            except psutil.NoSuchProcess:
                continue
        _, alive = psutil.wait_procs(list(processes.values()), timeout=_SECONDS)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive)
        self.clear()
        return list(processes)

    def _read(self) -> dict[str, list[float]]:
        if not self._file.exists():
            return {}
        recorded: dict[str, list[float]] = json.loads(self._file.read_text())
        return recorded
