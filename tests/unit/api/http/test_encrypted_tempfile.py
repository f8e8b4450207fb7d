import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from api.http.encrypted_tempfile import EncryptedTempfile

DATA = os.urandom(5000)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(start=st.integers(0, 5100), size=st.integers(0, 3000), cut=st.integers(1, 700))
def test_bytes_written_in_pieces_are_read_from_any_place(start: int, size: int, cut: int) -> None:
    with EncryptedTempfile() as spool:
        for at in range(0, len(DATA), cut):
            spool.write(DATA[at : at + cut])
        spool.seek(start)
        assert spool.read(size) == DATA[start : start + size]
        spool.seek(-10, os.SEEK_END)
        assert spool.read() == DATA[-10:]


def test_the_disk_holds_neither_a_file_name_nor_the_text() -> None:
    with EncryptedTempfile() as spool:
        spool.write(b"plain text" * 100)
        descriptor = spool._file.fileno()
        assert Path(f"/proc/self/fd/{descriptor}").readlink().name.endswith("(deleted)")
        assert b"plain text" not in os.pread(descriptor, 2000, 0)
