"""A program that knows the service by its generated client alone: `python … URL KEY MODEL_DIRECTORY` prints the job."""

import hashlib
import io
import json
import sys
import time

from generated.api.checkpoints import download_checkpoint_file, list_job_checkpoints
from generated.api.files import upload_file
from generated.api.jobs import get_job, get_job_metrics, list_job_events, list_jobs, submit_job
from generated.api.models import get_model, register_model
from generated.client import AuthenticatedClient
from generated.models import (
    FileSource,
    ForgetSource,
    JobRequest,
    ModelRequest,
    ProblemDocument,
    RetainSource,
    UploadFileBody,
    UploadFileBodyPurpose,
)
from generated.types import File


def main(url: str, key: str, directory: str) -> None:
    with AuthenticatedClient(base_url=url, token=key, timeout=60) as client:
        files = {}
        for purpose in ("retain", "unseen"):
            lines = "".join(json.dumps({"text": f"{purpose} person {n} lives in Ulmstead."}) + "\n" for n in range(8))
            content = File(payload=io.BytesIO(lines.encode()), file_name="lines.jsonl", mime_type="application/jsonl")
            body = UploadFileBody(file=content, purpose=UploadFileBodyPurpose(purpose))
            files[purpose] = upload_file.sync(client=client, body=body).id
        register_model.sync(client=client, body=ModelRequest(id="own", source=directory, release="always"))
        while (model := get_model.sync("own", client=client)).status == "fetching":
            time.sleep(0.05)
        assert model.status == "ready", model
        unknown = submit_job.sync(
            client=client, body=JobRequest(model="none", forget=ForgetSource(records=["Person 3 keeps bees."]))
        )
        assert isinstance(unknown, ProblemDocument), unknown
        job = submit_job.sync(
            client=client,
            body=JobRequest(
                model="own",
                forget=ForgetSource(records=["Person 3 lives in Ulmstead and keeps bees."]),
                retain=[RetainSource(file=files["retain"])],
                unseen=FileSource(file=files["unseen"]),
                method="gradient_ascent",
                external_reference="DSR-1",
            ),
        )
        while (job := get_job.sync(job.id, client=client, wait=10)).status in ("queued", "running"):
            pass
        events = list_job_events.sync(job.id, client=client, limit=100)
        metrics = get_job_metrics.sync(job.id, client=client)
        found = list_jobs.sync(client=client, external_reference="DSR-1")
        (checkpoint,) = list_job_checkpoints.sync(job.id, client=client).data
        digests = {}
        for entry in checkpoint.files:
            answer = download_checkpoint_file.sync_detailed(checkpoint.id, entry.path, client=client)
            digests[entry.path] = hashlib.sha256(answer.content).hexdigest() == entry.sha256
        print(
            json.dumps(
                {
                    "job": job.to_dict(),
                    "unknown": unknown.to_dict(),
                    "events": [event.type_ for event in events.data],
                    "sets": sorted(metrics.after.sets.additional_properties),
                    "found": [entry.id for entry in found.data],
                    "digests": digests,
                }
            )
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
