"""A file's format and compression, read from its name."""

from typing import Literal, NamedTuple

from core.schema.errors import DomainError, OwnWords
from core.schema.files import FileFormat

Compression = Literal["gzip", "zstd"]

FORMAT_SUFFIXES: dict[str, FileFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".txt": "txt",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
COMPRESSION_SUFFIXES: dict[str, Compression] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
COLUMNAR_FORMATS: frozenset[FileFormat] = frozenset({"parquet", "arrow"})
_ADVICE = {
    (".zip", ".tar", ".tgz", ".7z", ".rar"): "unpack the archive, and upload its files one by one",
    (".bz2", ".xz", ".lz4", ".br", ".snappy"): "of compressed files .gz and .zst are read",
    (".xlsx", ".xls", ".ods", ".numbers"): "save the table as CSV in UTF-8",
    (".docx", ".doc", ".pdf", ".rtf", ".odt", ".html", ".md", ".xml"): "save the text as .txt, a blank line between two"
    " records, or as .jsonl",
    (".pkl", ".pickle", ".pt", ".npy", ".npz", ".h5"): "save the records as .jsonl or .parquet",
}


class FileKind(NamedTuple):
    """The format, compression and separator that a file is read with."""

    format: FileFormat
    compression: Compression | None = None
    separator: str = ","

    def is_read_whole(self) -> bool:
        """Whether the whole file must be present before it is read, to be sought in or decompressed."""
        return self.format in COLUMNAR_FORMATS or self.compression is not None


class UnknownFileKind(DomainError, ValueError):
    """The file's name tells no format that the service reads; the detail says what to do."""

    status, problem, pointer = 422, "invalid-request", "/file"

    def __init__(self, advice: OwnWords) -> None:
        self.detail = advice
        super().__init__()


def detect_file_kind(filename: str) -> FileKind:
    """Returns the kind that a file's name shows. Raises UnknownFileKind."""
    name = filename.lower()
    suffix = next((suffix for suffix in COMPRESSION_SUFFIXES if name.endswith(suffix)), None)
    compression = COMPRESSION_SUFFIXES[suffix] if suffix else None
    name = name.removesuffix(suffix or "")
    format = next((format for suffix, format in FORMAT_SUFFIXES.items() if name.endswith(suffix)), None)
    if format is None:
        advice = next((advice for suffixes, advice in _ADVICE.items() if name.endswith(suffixes)), None)
        known = f"the file's name ends in none of {', '.join(FORMAT_SUFFIXES)} (or these with .gz or .zst)"
        raise UnknownFileKind(f"{known}: {advice}" if advice else known)
    if compression and format in COLUMNAR_FORMATS:
        raise UnknownFileKind(f"a {format} file compresses its own columns: upload it as it is, without {suffix}")
    return FileKind(format, compression, "\t" if name.endswith(".tsv") else ",")


def detect_format(filename: str) -> FileFormat | None:
    """Returns the format that a file's name shows; None: it shows none."""
    try:
        return detect_file_kind(filename).format
    except UnknownFileKind:
        return None
