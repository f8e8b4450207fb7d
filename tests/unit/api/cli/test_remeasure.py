"""The files that figures are made again from."""

from pathlib import Path

from api.cli import remeasure
from core.schema.jobs import SetUsed


def test_a_retain_file_without_a_digest_is_used_as_the_kind_that_the_job_used(tmp_path: Path) -> None:
    file = tmp_path / "retain.jsonl"
    file.write_text('{"text": "Rain falls in the hills."}\n')
    texts = remeasure.Texts(None, [file], None, None, None, None, None, None)
    for kind, used_as in (("general", "general"), ("in_distribution", "retain")):
        data = [SetUsed(name="retain", file=None, kind=kind, records=1, sha256=None)]
        records = remeasure._records(data, texts)
        assert getattr(records, used_as) == [file]
