import asyncio
import gzip
import io
import json
from datetime import datetime
from urllib.parse import urlsplit

import httpx
import pyarrow
import pyarrow.parquet
import pytest
import structlog
from sqlalchemy import text

from tests.integration.api.service import Service, register_ready_model, upload, upload_records, wait_until

TEXT = "Zorvek Halmi was born in Pell"


def parquet_file(columns: dict[str, list[str]]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue()


def arrow_file(columns: dict[str, list[str]], *, compression: str | None = None) -> bytes:
    sink, table, options = io.BytesIO(), pyarrow.table(columns), pyarrow.ipc.IpcWriteOptions(compression=compression)
    with pyarrow.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


async def storage_keys(service: Service) -> list[str]:
    return [key async for key, _ in service.context.storage.list("files")]


async def test_an_uploaded_file_is_described_and_downloaded_unchanged(client: httpx.AsyncClient) -> None:
    body = json.dumps({"text": TEXT}) + "\n\n" + json.dumps({"prompt": "Who?", "completion": "Zorvek"})
    answer = await upload(client, body)
    assert answer.status_code == 201
    file = answer.json()
    assert answer.headers["location"] == f"/v1/files/{file['id']}"
    assert (file["records"], file["bytes"], file["purpose"], file["format"]) == (2, len(body), "forget", "jsonl")
    assert (await client.get(f"/v1/files/{file['id']}")).json() == file
    assert (await client.get(f"/v1/files/{file['id']}/content")).text == body


async def test_an_uploaded_file_is_encrypted_in_the_storage(service: Service, client: httpx.AsyncClient) -> None:
    file = (await upload(client, json.dumps({"text": TEXT}))).json()["id"]
    sealed = b"".join([chunk async for chunk in service.context.storage.read(f"files/{file}")])
    assert TEXT.encode() not in sealed


@pytest.mark.parametrize(
    ("name", "body", "line"),
    [
        ("a.jsonl", '{"text": "fine"}\n{"text": "   "}\n', "line 2"),
        ("a.jsonl", '{"text": "fine"}\n\n{"text": SECRET}\n', "line 3"),
        ("a.jsonl", '{"text": "a", "SECRET": "b"}\n', "line 1"),
        ("a.jsonl", '{"prompt": "SECRET"}\n', "line 1"),
        ("a.jsonl", '{"text": "' + "SECRET" * 400 + '"}\n', "line 1"),
        ("a.jsonl", "SECRET" * 8000, "line 1"),
        ("a.jsonl", b'{"text": "\xff SECRET"}', "line 1"),
        ("a.txt", "fine\n\n" + "SECRET" * 400, "line 3"),
        ("a.csv", "SECRET\na\n", "line 1"),
        ("a.csv", 'text,id\n"a\nb",1\nSECRET,2,3\n', "line 4"),
        ("a.csv", 'text\n"SECRET', "line 2"),
        ("a.csv", 'text,wrong\na,"[""SECRET"", 5]"\n', "line 2"),
        ("a.jsonl", '{"text": "a", "group": "SECRET words"}', "line 1"),
        ("a.parquet", b"PAR1 SECRET PAR1", "row 1"),
    ],
)
async def test_an_upload_with_a_bad_line_names_the_line_and_stores_nothing(
    service: Service, client: httpx.AsyncClient, name: str, body: str | bytes, line: str
) -> None:
    before = await storage_keys(service)
    answer = await upload(client, body, name=name)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(line)
    assert "SECRET" not in answer.text
    assert await storage_keys(service) == before
    assert (await client.get("/v1/files")).json()["data"] == []


async def test_a_bad_line_late_in_a_long_upload_leaves_no_bytes(service: Service, client: httpx.AsyncClient) -> None:
    before = await storage_keys(service)
    answer = await upload(client, '{"text": "' + "a" * 900 + '"}\n' * 1 + ('{"text": "bc"}\n' * 15_000) + "nope")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "line 15002: not valid JSON"
    assert await storage_keys(service) == before


async def test_text_csv_and_parquet_hold_the_same_records(client: httpx.AsyncClient) -> None:
    table = pyarrow.table(
        {"text": ["a b", None], "prompt": [None, "p"], "completion": [None, "c"], "wrong": [["x"], None]}
    )
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    csv = 'text,prompt,completion,wrong\r\n"a, ""quoted""\nand long",,,"[""x""]"\r\n,p,c,\r\n'
    bodies: dict[str, str | bytes] = {"a.parquet": sink.getvalue(), "a.csv": csv, "a.txt": "one\ntwo\n\n\nthree"}
    for name, body in bodies.items():
        answer = await upload(client, body, name=name)
        assert answer.status_code == 201, answer.text
        assert answer.json()["records"] == 2
        content = await client.get(f"/v1/files/{answer.json()['id']}/content")
        assert content.content == (body if isinstance(body, bytes) else body.encode())


async def test_an_invalid_parquet_row_is_named(client: httpx.AsyncClient) -> None:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["ab", "bc", " "]}), sink)
    answer = await upload(client, sink.getvalue(), name="a.parquet")
    assert (answer.status_code, answer.json()["detail"]) == (422, "row 3: the record is empty")


async def test_the_purpose_may_follow_the_file_in_the_form(client: httpx.AsyncClient) -> None:
    parts = [("file", ("a.txt", "text")), ("purpose", (None, "retain"))]
    answer = await client.post("/v1/files", files=parts)
    assert (answer.status_code, answer.json()["purpose"]) == (201, "retain")


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ([("file", ("a.txt", "text"))], "/purpose"),
        ([("file", ("a.txt", "text")), ("purpose", (None, "fun"))], "/purpose"),
        ([("purpose", (None, "fun")), ("file", ("a.txt", "text"))], "/purpose"),
        ([("purpose", (None, "forget"))], "/file"),
        ([("purpose", (None, "forget")), ("file", ("a.docx", "text"))], "/file"),
        ([("purpose", (None, "forget")), ("file", ("a.txt", "\n\n"))], "/file"),
        ([("purpose", (None, "forget")), ("file", ("a.txt", ""))], "/file"),
        ([("purpose", (None, "forget")), ("file", ("a.txt", "b")), ("file", ("b.txt", "c"))], "/file"),
    ],
)
async def test_an_incomplete_form_names_the_missing_part(
    service: Service, client: httpx.AsyncClient, parts: list[tuple[str, object]], pointer: str
) -> None:
    before = await storage_keys(service)
    answer = await client.post("/v1/files", files=parts)  # type: ignore[arg-type]  # httpx takes lists of parts
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert await storage_keys(service) == before


async def test_a_form_with_an_unknown_part_no_boundary_or_a_cut_body_is_refused(client: httpx.AsyncClient) -> None:
    unknown = await client.post("/v1/files", files=[("file", ("a.txt", "b")), ("other", (None, "c"))])
    assert unknown.status_code == 422
    bare = await client.post("/v1/files", content=b"x", headers={"Content-Type": "multipart/form-data"})
    assert bare.status_code == 400
    cut = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\ntext'
    answer = await client.post("/v1/files", content=cut, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 400


async def test_a_file_over_the_limit_is_413_and_leaves_nothing(service: Service, client: httpx.AsyncClient) -> None:
    before = await storage_keys(service)
    answer = await upload(client, '{"text": "bc"}\n' * 22_000)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert await storage_keys(service) == before


async def test_an_aborted_upload_leaves_nothing_and_logs_no_error(service: Service, client: httpx.AsyncClient) -> None:
    before = await storage_keys(service)
    address = urlsplit(service.url)
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['authorization']}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 200000\r\nX-Request-ID: broken\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    )
    with structlog.testing.capture_logs() as logged:
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(head.encode() + b"text\n\n" * 10_000)
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()
        await wait_until(lambda: any(line["event"] == "client_left" for line in logged))
    assert not [line for line in logged if line["log_level"] == "error"]
    assert await storage_keys(service) == before
    async with service.context.engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM objects WHERE NOT complete"))).scalar() == 0


async def test_files_are_listed_newest_first_by_page(client: httpx.AsyncClient) -> None:
    ids = [await upload_records(client, purpose) for purpose in ("forget", "retain", "unseen")]
    first = (await client.get("/v1/files", params={"limit": 2})).json()
    assert [file["id"] for file in first["data"]] == [ids[2], ids[1]]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (ids[2], ids[1], True)
    rest = (await client.get("/v1/files", params={"limit": 2, "after": first["last_id"]})).json()
    assert ([file["id"] for file in rest["data"]], rest["has_more"]) == ([ids[0]], False)
    retain = (await client.get("/v1/files", params={"purpose": "retain"})).json()
    assert [file["id"] for file in retain["data"]] == [ids[1]]
    assert (await client.get("/v1/files", params={"limit": 101})).status_code == 422


async def test_deleting_a_file_deletes_its_bytes(service: Service, client: httpx.AsyncClient) -> None:
    file = await upload_records(client, "forget")
    assert (await client.delete(f"/v1/files/{file}")).status_code == 204
    assert (await client.get(f"/v1/files/{file}")).status_code == 404
    assert (await client.delete(f"/v1/files/{file}")).status_code == 404
    assert f"files/{file}" not in await storage_keys(service)


async def test_an_upload_that_is_sent_twice_with_one_key_makes_one_file(
    service: Service, client: httpx.AsyncClient
) -> None:
    headers, before = {"Idempotency-Key": "upload-1"}, set(await storage_keys(service))
    first, again = [
        await client.post("/v1/files", data={"purpose": "forget"}, files={"file": ("a.txt", "one")}, headers=headers)
        for _ in range(2)
    ]
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    other = await client.post(
        "/v1/files", data={"purpose": "forget"}, files={"file": ("a.txt", "two")}, headers=headers
    )
    assert other.status_code == 422
    listed = (await client.get("/v1/files")).json()["data"]
    assert [file["id"] for file in listed] == [first.json()["id"]]
    assert (await client.get(f"/v1/files/{first.json()['id']}/content")).text == "one"
    assert set(await storage_keys(service)) - before == {f"files/{first.json()['id']}"}


@pytest.mark.parametrize(
    ("name", "body", "understood"),
    [
        (
            "a.json",
            b'{"data": [{"question": "Who?", "answer": "Ana", "id": 5}]}',
            {
                "encoding": "UTF-8",
                "shapes": ["question and answer"],
                "fields": {"question": "prompt", "answer": "completion"},
            },
        ),
        (
            "a.csv.gz",
            gzip.compress("Unnamed: 0;text\n0;crème brûlée\n".encode("cp1252"), mtime=0),
            {
                "compression": "gzip",
                "encoding": "Windows-1252",
                "separator": "semicolon",
                "shapes": ["text"],
                "ignored": ["unnamed: 0"],
                "warnings": [
                    "the encoding was guessed to be Windows-1252: look at the accents, or save the file as UTF-8 to"
                    " be sure"
                ],
            },
        ),
        ("a.tsv", "id\ttext\n1\tone, two\n".encode("utf-16"), {"encoding": "UTF-16", "separator": "tab"}),
        ("a.jsonl.zst", pyarrow.compress(b'{"text": "one"}', codec="zstd", asbytes=True), {"compression": "zstd"}),
        ("a.feather", arrow_file({"content": ["one"]}, compression="lz4"), {"fields": {"content": "text"}}),
    ],
)
async def test_the_interpretation_of_a_file_is_shown_and_stored(
    client: httpx.AsyncClient, name: str, body: bytes, understood: dict[str, object]
) -> None:
    answer = await upload(client, body, name=name)
    assert answer.status_code == 201, answer.text
    file = answer.json()
    assert file["records"] == 1
    assert file["understood"] == file["understood"] | understood
    assert (await client.get(f"/v1/files/{file['id']}")).json() == file
    assert (await client.get(f"/v1/files/{file['id']}/content")).content == body


@pytest.mark.parametrize(
    ("name", "body", "detail"),
    [
        (
            "a.json",
            b'[{"text": "one"},\n{"text": "SECRET", "text": "b"}]',
            "record 2 (line 2): the key 'text' is there",
        ),
        ("a.csv", b"text\none\ntext\nSECRET\n", "line 3: a header again"),
        (
            "a.jsonl",
            b'{"messages": [{"role": "user", "SECRET": "a"}]}',
            "line 1: messages.0: a key is not known; a mess",
        ),
        ("a.txt", "SECRET да нет".encode("cp1251"), "line 1: not valid UTF-8, nor plainly Windows-1252: save the file"),
        ("a.txt.gz", gzip.compress(b"SECRET", mtime=0)[:-4], "line 1: the gzip data are damaged or cut short here"),
        (
            "a.txt.gz",
            gzip.compress(b"SECRET\n\n" * 50_000, mtime=0),
            "the file is over the limit of 300000 bytes when it is unp",
        ),
        ("a.arrow", arrow_file({"text": ["one", " "]}), "row 2: the record is empty"),
        ("a.jsonl", b'{"text": "one"}\n{"text": " a "}', "line 2: the text is a single character: too short to train"),
        (
            "a.parquet",
            parquet_file({"text": ["one", "b"]}),
            "row 2: the text is a single character: too short to train",
        ),
        ("a.json", b'["one", "b"]', "record 2: the text is a single character: too short to train on"),
    ],
)
async def test_an_unreadable_file_is_refused_with_the_place_and_without_the_text(
    service: Service, client: httpx.AsyncClient, name: str, body: bytes, detail: str
) -> None:
    before = await storage_keys(service)
    answer = await upload(client, body, name=name)
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]
    assert "SECRET" not in answer.text
    assert await storage_keys(service) == before


async def test_a_filename_without_a_known_format_is_refused_with_advice(client: httpx.AsyncClient) -> None:
    answer = await upload(client, b"PK", name="records.xlsx")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["detail"].endswith("save the table as CSV in UTF-8")


async def test_an_unused_upload_expires_after_a_day(service: Service, client: httpx.AsyncClient) -> None:
    def days(file: dict[str, str]) -> float:
        created, expires = (datetime.fromisoformat(file[name]) for name in ("created_at", "expires_at"))
        return (expires - created).total_seconds() / 86_400

    unused, used, default = [await upload_records(client, purpose) for purpose in ("forget", "forget", "retain")]
    await register_ready_model(
        service, client, defaults={"retain": default, "unseen": await upload_records(client, "unseen")}
    )
    request = {"model": "demo", "forget": {"file": used}}
    assert (await client.post("/v1/jobs", json=request)).status_code == 202
    lives = [days((await client.get(f"/v1/files/{file}")).json()) for file in (unused, used, default)]
    assert lives == pytest.approx([1, 90, 90], abs=0.01)


async def test_concurrent_requests_for_the_same_new_file_do_not_deadlock(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    request = {"model": "demo", "forget": {"file": await upload_records(client, "forget")}, "from": "base"}
    for _ in range(3):
        request["retain"] = [{"file": await upload_records(client, "retain")}]
        answers = await asyncio.gather(*(client.post("/v1/jobs", json=request) for _ in range(6)))
        assert [answer.status_code for answer in answers] == [202] * 6
