"""Records of every format go, complete, to one connection of this user that knows the token."""

import asyncio
import gzip
import hashlib
import io
import json
import socket
import stat
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from core.pipeline.earlier_requests import match_requests
from core.records.earlier_requests import StoredRequest
from core.records.tables import FileRow, JobFile
from core.schema.job_spec import RecordSet
from core.schema.previously_forgotten import EarlierRequest
from core.schema.record import Record
from core.storage import Storage, open_storage
from core.storage.file_keys import FileKeys
from core.storage.record_digests import DIGEST_BYTES, DigestSet, key_check, record_digest
from core.storage.uploads import store_upload
from worker.failure import AttemptFailed
from worker.record_server import RecordServer

KEYS = FileKeys(bytes(32))


def joined_digests(*texts: str) -> bytes:
    return b"".join(record_digest(Record(text=text), KEYS) for text in texts)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(f"file://{tmp_path}/objects", None)  # type: ignore[arg-type]  # files need no database


async def store_sealed(
    storage: Storage, id: str, data: bytes, *, name: str, format: str = "jsonl"
) -> tuple[JobFile, FileRow]:
    async def chunks() -> AsyncIterator[bytes]:
        yield data

    wrapped = await store_upload(storage, id, chunks(), KEYS)
    use = JobFile(job="job-1", position=0, file=id, name=name, kind=None, weight=2.0)
    return use, FileRow(id=id, format=format, filename=f"a.{format}", wrapped_key=wrapped)


async def request_records(path: Path, token: str) -> list[RecordSet]:
    """Connects, sends the token and reads the sets, as the child does."""

    def receive() -> list[RecordSet]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(token.encode() + b"\n")
            return [RecordSet.model_validate_json(line) for line in connection.makefile("rb")]

    return await asyncio.to_thread(receive)


async def test_every_format_arrives_as_the_records_that_were_uploaded(storage: Storage, tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": f"record {number} – ü", "subject": "s"}) + "\n" for number in range(3000))
    table = pyarrow.table({"prompt": ["a", "b"], "completion": ["c", "d"]})
    parquet = io.BytesIO()
    pyarrow.parquet.write_table(table, parquet)
    sets = [
        await store_sealed(storage, "file-1", lines.encode(), name="forget"),
        await store_sealed(storage, "file-2", b"one\n\ntwo\nlines", name="retain", format="txt"),
        await store_sealed(storage, "file-3", b"text\nx\n", name="unseen", format="csv"),
        await store_sealed(storage, "file-4", parquet.getvalue(), name="general", format="parquet"),
    ]
    sets[2][0].part = "measures"
    path = tmp_path / "records"
    async with RecordServer(path, "token", sets, storage=storage, keys=KEYS) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        forget, retain, unseen, general = await request_records(path, "token")
        await server.wait_sent()
    assert [record.text for record in forget.records] == [f"record {number} – ü" for number in range(3000)]
    assert (forget.name, forget.weight, forget.records[0].subject) == ("forget", 2.0, "s")
    assert [record.text for record in retain.records] == ["one", "two\nlines"]
    assert [record.text for record in unseen.records] == ["x"]
    assert (retain.part, unseen.part) == (None, "measures")
    assert [(record.prompt, record.completion) for record in general.records] == [("a", "c"), ("b", "d")]
    assert not path.exists()


async def test_a_wrong_token_gets_nothing_and_the_right_one_works_once(storage: Storage, tmp_path: Path) -> None:
    sets = [await store_sealed(storage, "file-1", b'{"text": "x"}\n', name="forget")]
    path = tmp_path / "records"
    async with RecordServer(path, "token", sets, storage=storage, keys=KEYS):
        assert await request_records(path, "wrong") == []
        assert await request_records(path, "x" * 10_000) == []
        assert len(await request_records(path, "token")) == 1
        assert await request_records(path, "token") == []


@pytest.mark.parametrize("fault", ["gone", "altered", "other key"])
async def test_records_that_cannot_be_read_fail_the_attempt(storage: Storage, tmp_path: Path, fault: str) -> None:
    use, file = await store_sealed(storage, "file-1", b'{"text": "x"}\n', name="forget")
    keys = KEYS
    if fault == "gone":
        await storage.delete("files/file-1")
    elif fault == "altered":

        async def other_bytes() -> AsyncIterator[bytes]:
            yield b"ULS1" + bytes(200)

        await storage.write("files/file-1", other_bytes())
    else:
        keys = FileKeys(bytes([1]) * 32)
    path = tmp_path / "records"
    async with RecordServer(path, "token", [(use, file)], storage=storage, keys=keys) as server:
        assert await request_records(path, "token") == []
        with pytest.raises(AttemptFailed) as failure:
            await server.wait_sent()
    error = failure.value.error
    assert error.code == ("file_gone" if fault == "gone" else "file_damaged")
    assert not error.retryable


async def test_all_records_of_an_earlier_job_arrive_and_a_sample_is_marked(storage: Storage, tmp_path: Path) -> None:
    own = await store_sealed(storage, "file-1", b'{"text": "x"}\n', name="forget")
    lines = b"".join(b'{"text": "record %d"}\n' % number for number in range(500))
    whole = await store_sealed(storage, "file-2", lines, name="forget")
    broken = await store_sealed(storage, "file-3", b'{"text": "first"}\n{"other": 1}\n', name="forget")
    deleted = await store_sealed(storage, "file-4", lines, name="forget")
    await storage.delete("files/file-4")
    earlier = [
        StoredRequest(EarlierRequest(job=job, records=500, last_measured=job), file)
        for job, (_, file) in {"job-4": deleted, "job-3": broken, "job-2": whole}.items()
    ]
    path = tmp_path / "records"
    async with RecordServer(path, "token", [own], storage=storage, keys=KEYS, earlier=earlier) as server:
        _, gone, unreadable, read = await request_records(path, "token")
        await server.wait_sent()
    assert [record.text for record in read.records] == [f"record {number}" for number in range(500)]
    assert read.positions is not None
    assert (read.earlier, read.unread, len(read.positions)) == ("job-2", None, 64)
    assert read.positions == sorted(set(read.positions))
    assert (unreadable.earlier, unreadable.unread, unreadable.positions) == ("job-3", "unreadable", [])
    assert (gone.earlier, gone.unread, gone.positions, gone.records) == ("job-4", "deleted", [], [])
    sampled = match_requests([stored.request for stored in earlier], [gone, unreadable, read])
    assert [len(request.records) for request in sampled] == [0, 0, 64]
    assert all(record.text == f"record {position}" for position, record in sampled[2].records)


async def test_a_child_that_hangs_up_is_not_a_failure_of_the_server(storage: Storage, tmp_path: Path) -> None:
    text = b"".join(b'{"text": "%s"}\n' % (b"x" * 1000) for _ in range(5000))
    sets = [await store_sealed(storage, "file-1", text, name="forget")]
    path = tmp_path / "records"
    async with RecordServer(path, "token", sets, storage=storage, keys=KEYS) as server:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"token\n")
            await asyncio.sleep(0.05)
        await asyncio.wait_for(server.wait_sent(), 60)


async def test_a_file_is_read_as_it_was_understood_at_its_upload(storage: Storage, tmp_path: Path) -> None:
    table = pyarrow.table({"question": ["a"], "answer": ["b"]})
    arrow = io.BytesIO()
    with pyarrow.ipc.new_stream(arrow, table.schema) as writer:
        writer.write_table(table)
    bodies = {
        "a.json.gz": ("json", gzip.compress(b'{"rows": [{"question": "a", "answer": "b"}]}')),
        "a.tsv": ("csv", "prompt\tcompletion\na\tb\n".encode("utf-16")),
        "a.feather": ("arrow", arrow.getvalue()),
        "a.json": ("jsonl", b'{"prompt": "a", "completion": "b"}\n'),  # as files were stored before lists were read
    }
    sets = []
    for number, (filename, (format, data)) in enumerate(bodies.items()):
        use, file = await store_sealed(storage, f"file-{number}", data, name="retain", format=format)
        file.filename = filename
        sets.append((use, file))
    async with RecordServer(tmp_path / "s", "token", sets, storage=storage, keys=KEYS):
        record_sets = await request_records(tmp_path / "s", "token")
    assert [[(record.prompt, record.completion) for record in record_set.records] for record_set in record_sets] == [
        [("a", "b")]
    ] * 4


VARIANTS = [
    "  Zoë Müller keeps the key.\n",
    "Zoë\u00a0Müller\r\nkeeps  the key.",
    unicodedata.normalize("NFD", "Zoë Müller keeps the key."),
    "ZOË MÜLLER KEEPS THE KEY.",
    "Zoë Mül\u00adler keeps the key.",
    "\ufeffZoë Müller ｋｅｅｐｓ the key.",
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_digests_find_text_that_copying_changed(variant: str) -> None:
    found = DigestSet([joined_digests("Zoë Müller keeps the key.")])
    assert found.finds(Record(text=variant), KEYS)
    assert not found.finds(Record(text=f"{variant} Too."), KEYS)


def test_digests_find_text_in_another_shape() -> None:
    found = DigestSet([joined_digests("Was it Zoë? It was.")])
    assert found.finds(Record(prompt="Was it Zoë?", completion=" It was."), KEYS)


def test_the_digest_of_a_text_stays_the_same_for_good() -> None:
    text = "  Was it ZO\u00cb\u2764\ufe0f?\r\nIt\u3164 was \ufb01ve\u00ad: 10\u2075."
    assert record_digest(Record(text=text), KEYS) == bytes.fromhex("eddd992ecf5b5603")


def test_digests_that_jobs_kept_of_trimmed_text_go_on_matching() -> None:
    content = b'["record to forget","Was it Zo\xc3\xab?","It was."]'
    kept = bytes.fromhex(KEYS.blind(hashlib.sha256(content).hexdigest()))[:DIGEST_BYTES]
    found = DigestSet([kept])
    assert found.finds(Record(prompt=" Was it Zoë?\n", completion="It was."), KEYS)
    assert not found.finds(Record(prompt="Was it Zoë?", completion="It was not."), KEYS)


async def test_records_of_a_deleted_or_damaged_earlier_file_are_found_by_their_digests(
    storage: Storage, tmp_path: Path
) -> None:
    own = await store_sealed(storage, "file-1", b'{"text": "own one"}\n{"text": "own two"}\n', name="forget")
    lines = b'{"text": "kept"}\n{"text": " gone ", "id": "7"}\n{"text": "after the damage"}\n{"text": "older"}\n'
    retain = await store_sealed(storage, "file-2", lines, name="retain")
    probes = await store_sealed(storage, "file-3", b'{"text": "gone"}\n', name="probes")
    damaged = await store_sealed(storage, "file-4", b'{"text": "first"}\n{"other": 1}\n', name="forget")
    requests = [EarlierRequest(job=f"job-{number}", records=2, last_measured=None) for number in (5, 4, 3)]
    earlier = [
        StoredRequest(requests[0], damaged[1], joined_digests("first", "after the damage")),
        StoredRequest(requests[1], None, joined_digests("gone", "elsewhere")),
        StoredRequest(requests[2], None, None),  # of a job from before digests were kept: its text was "older"
    ]
    path = tmp_path / "records"
    sets = [own, retain, probes]
    async with RecordServer(path, "token", sets, storage=storage, keys=KEYS, earlier=earlier) as server:
        first, second, third, _ = await request_records(path, "token")
        await server.wait_sent()
    assert (first.forgotten, second.forgotten) == (None, [1, 2])
    assert third.name == "probes"
    assert server.forget_digests == {"job-1": joined_digests("own one", "own two")}
    other_key = FileKeys(bytes([1]) * 32)
    assert record_digest(Record(text="own one"), other_key) != record_digest(Record(text="own one"), KEYS)
    assert key_check(other_key) != key_check(KEYS) == key_check(FileKeys(bytes(32)))
