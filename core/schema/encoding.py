"""Decodes the bytes of a text file. The encoding is read from the file, or guessed with a warning, or refused.

The result does not depend on how the bytes are cut into chunks: decoding waits for the file's first `HEAD` bytes.
"""

import codecs
import re
from collections.abc import Iterator

from core.schema.bad_record import BadRecord
from core.schema.file_interpretation import FileInterpretation

HEAD = 4096
ADVICE = "save the file as UTF-8"

_OTHER_FORMATS = {
    b"\x1f\x8b": "the file is gzip-compressed: let its name end in .gz",
    b"\x28\xb5\x2f\xfd": "the file is zstd-compressed: let its name end in .zst",
    b"PK\x03\x04": "the file is a zip archive or an Office document: unpack it, or save the table as CSV in UTF-8",
    b"\xd0\xcf\x11\xe0": "the file is an older Office document: save the table as CSV in UTF-8",
    b"%PDF": "the file is a PDF: extract its text first",
    b"PAR1": "the file is Parquet: let its name end in .parquet",
    b"ARROW1": "the file is Arrow: let its name end in .arrow",
}
_MARKS = (  # UTF-32 before UTF-16, since its mark begins with the mark of UTF-16
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
_NUL_SHARE = 0.2
"""The least share of ASCII in text recognised as UTF-16. Such a character has a NUL, at an even or an odd byte."""

_LOWER = "àâäáãåæçèéêëìíîïñòóôöõøœùúûü"
_UPPER = _LOWER.upper()
_BESIDE_WORDS = "‚„“”†‡•‰‹›«»¿¡§©®™£€¥¢¤¦¬±ªº¹²³¼½¾×÷¶"
_ALLOWED = _LOWER + _UPPER + _BESIDE_WORDS + "ß‘’–—…·°´¨¸ \u00a0\u00ad"
_IMPLAUSIBLE = re.compile(
    "|".join(
        (
            rf"[^\x00-\x7f{_ALLOWED}]",  # letters of Turkish, Czech and Icelandic, and signs that no prose has
            rf"[{_LOWER}{_UPPER}ß]{{3}}",  # Cyrillic, Greek, Hebrew, Arabic: words of such bytes alone
            rf"[a-z{_LOWER}][{_UPPER}]",
            rf"[A-Za-z{_LOWER}{_UPPER}][{_BESIDE_WORDS}][A-Za-z{_LOWER}{_UPPER}]",  # DOS, Polish, Romanian
            "õ[^e]",  # Portuguese has õe alone; this is the Hungarian ő
            rf"[ÂÃ][‘’–—…·°´¨¸\u00a0\u00ad{_BESIDE_WORDS}]|â€",  # UTF-8 in between
        )
    )
)
"""Sequences, of at most 3 characters, that no Western European text holds if Windows-1252 is its encoding."""
_OVERLAP = 2


class Decoder:
    """Decodes a text file chunk by chunk, into text whose lines end in LF or CRLF.

    Memory: one chunk. Raises BadRecord with the line of the first byte that is not text. Notes in `interpretation` how
    the file was read.
    """

    def __init__(self, interpretation: FileInterpretation) -> None:
        self._interpretation = interpretation
        self._head: bytearray | None = bytearray()
        self._codec = "utf-8"
        self._undecoded = b""
        self._tail = ""
        self._ascii = True
        self._breaks = 0
        self._ends_in_cr: bool | None = None  # whether lines end in CR alone; None: no line has ended yet
        self._held_cr = False

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yields the chunk's text in pieces. Exhaust it before the next call."""
        if self._head is not None:
            self._head += chunk
            if len(self._head) < HEAD:
                return
            chunk = self._begin()
        yield from self._texts(chunk, last=False)

    def close(self) -> Iterator[str]:
        """Yields the text that ends with the file."""
        yield from self._texts(self._begin() if self._head is not None else b"", last=True)
        if self._held_cr:
            self._held_cr = False
            yield "\n" if self._ends_in_cr is None or self._ends_in_cr else "\r"

    def _begin(self) -> bytes:
        head, self._head = bytes(self._head or b""), None
        for mark, reason in _OTHER_FORMATS.items():
            if head.startswith(mark):
                raise BadRecord(1, reason)
        self._interpretation.encoding = "UTF-8"
        for mark, codec, name in _MARKS:
            if head.startswith(mark):
                self._codec, self._interpretation.encoding = codec, name
                self._ascii = False  # nothing is left to guess
                return head[len(mark) :]
        if guess := _unmarked_utf_16(head):
            self._codec, self._interpretation.encoding = guess, "UTF-16"
            self._interpretation.warn(f"the encoding was guessed to be UTF-16: {ADVICE} to be sure")
        return head

    def _texts(self, chunk: bytes, *, last: bool) -> Iterator[str]:
        text, fault = self._decode(chunk, last=last)
        nul = text.find("\0")
        if nul >= 0:
            text, fault = text[:nul], f"a NUL character, which no text holds: {ADVICE}"
        if text:
            self._ascii = self._ascii and text.isascii()
            self._breaks += text.count("\n") + (text.count("\r") if self._ends_in_cr else 0)
            yield self._with_line_feeds(text)
        if fault is not None:
            raise BadRecord(self._breaks + 1, fault)

    def _decode(self, chunk: bytes, *, last: bool) -> tuple[str, str | None]:
        """Returns the text up to the first byte that is not text, and the fault of that byte."""
        data, self._undecoded = self._undecoded + chunk, b""
        if self._codec == "cp1252":
            return self._decode_windows_1252(data)
        try:
            text, used = _whole_characters(self._codec, data, last=last)
        except UnicodeDecodeError as error:
            text, rest = data[: error.start].decode(self._codec), data[error.start :]
            if self._codec != "utf-8":
                return text, f"not valid {self._interpretation.encoding}: {ADVICE}"
            if not (self._ascii and text.isascii()):
                return text, f"not valid UTF-8, as the text before is: {ADVICE}"
            self._codec, self._interpretation.encoding = "cp1252", "Windows-1252"
            guess = f"the encoding was guessed to be Windows-1252: look at the accents, or {ADVICE} to be sure"
            self._interpretation.warn(guess)
            more, fault = self._decode_windows_1252(rest)
            return text + more, fault
        self._undecoded = data[used:]
        return text, None

    def _decode_windows_1252(self, data: bytes) -> tuple[str, str | None]:
        refusal = f"not valid UTF-8, nor plainly Windows-1252: {ADVICE}"
        try:
            text, fault = data.decode("cp1252"), None
        except UnicodeDecodeError as error:
            text, fault = data[: error.start].decode("cp1252"), refusal
        if match := _IMPLAUSIBLE.search(self._tail + text):
            # the text before the match's last character is passed on, as it is where a chunk ends within the match
            text, fault = text[: max(0, match.end() - 1 - len(self._tail))], refusal
        self._tail = (self._tail + text)[-_OVERLAP:]
        return text, fault

    def _with_line_feeds(self, text: str) -> str:
        """Returns the text with LF for every CR where the first line ends in CR alone, else unchanged."""
        if self._held_cr:
            text, self._held_cr = "\r" + text, False
        if self._ends_in_cr is None and (first := re.search("[\r\n]", text)):
            if first.group() == "\r" and first.end() == len(text):
                self._held_cr = True
                return text[:-1]
            self._ends_in_cr = first.group() == "\r" and text[first.end()] != "\n"
            if self._ends_in_cr:
                self._breaks += text.count("\r")
                self._interpretation.warn("lines end in CR alone, as on old Macs: read as line ends")
        if not self._ends_in_cr:
            return text
        if text.endswith("\r"):
            text, self._held_cr = text[:-1], True
        return text.replace("\r\n", "\n").replace("\r", "\n")


def _whole_characters(codec: str, data: bytes, *, last: bool = False) -> tuple[str, int]:
    """Returns the text of the complete characters in `data`, and their number of bytes. Raises UnicodeDecodeError."""
    decoder = codecs.getincrementaldecoder(codec)()
    text = decoder.decode(data, last)
    return text, len(data) - len(decoder.getstate()[0])


def _unmarked_utf_16(head: bytes) -> str | None:
    """Returns the codec of UTF-16 without a mark, whose ASCII shows NULs at even or at odd bytes; None: it is not."""
    half = max(1, len(head) // 2)
    even, odd = head[::2].count(0), head[1::2].count(0)
    codec = "utf-16-le" if odd else "utf-16-be"
    begins_with_ascii = head[:2].count(0) == 1
    if not begins_with_ascii or min(even, odd) or max(even, odd) < _NUL_SHARE * half:
        return None
    try:
        _whole_characters(codec, head)
    except UnicodeDecodeError:
        return None
    return codec
