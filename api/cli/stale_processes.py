"""API and worker of an `up` that was killed: noted while they run, ended by the next `up` or `down`."""

import json

import psutil

from api.cli.data_folder import DataFolder

_SECONDS = 10.0


class StaleProcesses:
    """The note of a data folder: each process by its id and the moment it began, so that no stranger is ended."""

    def __init__(self, place: DataFolder) -> None:
        self._note = place.folder / "processes.json"

    def note(self, name: str, pid: int) -> None:
        """Writes down a process that was just started."""
        noted = self._read() | {name: [pid, psutil.Process(pid).create_time()]}
        self._note.write_text(json.dumps(noted))

    def forget(self) -> None:
        """They were ended in good order."""
        self._note.unlink(missing_ok=True)

    def process(self, name: str) -> psutil.Process | None:
        """The noted process, if it is still there."""
        pid, began = self._read().get(name, (0.0, 0.0))
        try:
            process = psutil.Process(int(pid)) if pid else None
            return process if process is not None and process.create_time() == began else None
        except psutil.NoSuchProcess:
            return None

    def end(self) -> list[str]:
        """Ends those that still run, politely first; returns their names. The caller holds the folder's lock."""
        found = {}
        for name in self._read():
            try:
                if (process := self.process(name)) is not None:
                    process.terminate()
                    found[name] = process
            except psutil.NoSuchProcess:
                continue
        _, stubborn = psutil.wait_procs(list(found.values()), timeout=_SECONDS)
        for process in stubborn:
            process.kill()
        psutil.wait_procs(stubborn)
        self.forget()
        return list(found)

    def _read(self) -> dict[str, list[float]]:
        if not self._note.exists():
            return {}
        noted: dict[str, list[float]] = json.loads(self._note.read_text())
        return noted
