"""Lines of a body that comes in pieces."""


class LineBuffer:
    """Cuts pieces of bytes into lines. Only a newline ends a line: JSON strings may hold other Unicode separators."""

    def __init__(self) -> None:
        self._rest = b""

    def add(self, piece: bytes) -> list[bytes]:
        """Returns the lines that are complete now, without their ends."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line.removesuffix(b"\r") for line in lines]
