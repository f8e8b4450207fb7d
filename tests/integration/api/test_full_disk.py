"""A full disk: reported with its reason, without partial writes, and over once there is room."""

import io
import json
from pathlib import Path

import pytest
import structlog

from api.http.logs import LossyStream
from tests.integration.api.service import make_settings, run_service, upload
from tests.small_disk import small_disk

LINE = json.dumps({"text": "a line of text that fills the disk " * 40}) + "\n"


async def test_an_upload_to_a_full_storage_is_507_and_readiness_says_so(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.storage_probe.SUCCESS_SECONDS", 0.0)
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        settings = make_settings(tmp_path, database_url, redis_url, storage_url=f"file://{disk}/objects")
        async with run_service(settings) as service, service.client() as client:
            with structlog.testing.capture_logs() as lines:
                refused = await upload(client, LINE * 2000)
            assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (507, "storage-full")
            faults = [line for line in lines if line["event"] == "service_fault"]
            assert [line["error"] for line in faults] == ["StorageFull"]
            assert "no room" in faults[0]["reason"]
            assert (await client.get("/v1/files")).json()["data"] == []
            filler = disk / "filler"
            with pytest.raises(OSError, match="space"):
                filler.write_bytes(bytes(2 << 20))
            unready = await client.get("/readyz")
            assert (unready.status_code, unready.json()["storage"]) == (503, "full")
            filler.unlink()
            assert (await client.get("/readyz")).json()["ready"] is True
            assert (await upload(client, LINE)).status_code == 201


def test_lost_log_lines_are_counted_and_reported_later() -> None:
    class Failing(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Failing()
    lossy = LossyStream(stream)
    lossy.write("one\n")
    lossy.write("two\n")
    stream.full = False
    lossy.write("three\n")
    lost_line, next_line = stream.getvalue().splitlines()
    assert (json.loads(lost_line)["lines"], next_line) == (2, "three")
