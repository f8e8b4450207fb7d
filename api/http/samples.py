"""Sample values for the examples of the OpenAPI document, by schema and field. Fields without one are composed."""

from collections.abc import Mapping
from typing import Any

from core.schema.default_policy import DEFAULT_POLICY

ID = "01a2212c6c8c7bd5a357c56fc6a7ca60"
JOB, CHECKPOINT, FILE, KEY = f"job-{ID}", f"ckpt-{ID}", f"file-{ID}", f"key-{ID}"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
EARLY, LATE = "2026-11-28T09:30:00Z", "2026-11-28T09:42:10Z"

NAMES: Mapping[str, str] = {
    "model": "demo",
    "job": JOB,
    "key": KEY,
    "submitter": KEY,
    "extended_by": KEY,
    "checkpoint": CHECKPOINT,
    "file": FILE,
    "organisation": f"org-{ID}",
    "path": "model.safetensors",
    "repository": JOB,
    "revision": "main",
    "name": "default",
    "from": "head",
    "method": "calibrated",
    "url": "https://hooks.example.org/unlearning",
    "source": "hf:org/name@main",
    "dtype": "bfloat16",
    "policy": "default",
    "code": "retain_smaller_than_forget",
    "message": "fewer records to keep were used in training (3) than records to forget (40): they are used again",
    "reason": "Forty requests on this model came in at once.",
}
"""Values of texts, by the name of their field in any schema."""

TRAINING: dict[str, Any] = {
    "learning_rate": 2e-5,
    "warmup": 0.03,
    "weight_decay": 0.0,
    "epochs": 5,
    "records_per_step": 32,
    "max_length": 1024,
    "chat": "raw",
    "seed": 0,
    "gradient_clip": 1.0,
    "micro_batch_tokens": 4096,
}

SAMPLES: Mapping[str, Mapping[str, Any]] = {
    "Job": {
        "status": "succeeded",
        "outcome": "unlearned",
        "verdict": "passed",
        "checkpoint": CHECKPOINT,
        "released": True,
        "progress": {"step": 50, "steps": 50, "fraction": 1.0, "eta": None},
        "external_reference": "DSR-2026-0142",
        "reference": "DSR-2026-0142",
        "due": "2026-12-28",
        "extensions": [],
        "warnings": [],
        "metadata": {"team": "privacy"},
        "created_at": EARLY,
        "started_at": EARLY,
        "finished_at": LATE,
        "links": {"self": f"/v1/jobs/{JOB}", "events": f"/v1/jobs/{JOB}/events", "archive": f"/v1/jobs/{JOB}/archive"},
    },
    "MethodUsed": {
        "name": "calibrated",
        "parameters": {"forget_weight": 1.0, "retain_term": "kl", "retain_weight": 1.0, "unseen_weight": 1.0},
    },
    "Training": TRAINING,
    "SetUsed": {"name": "forget", "file": FILE, "records": 40, "sha256": SHA256},
    "EvaluationUsed": {"measure": ["standard"], "policy": "default"},
    "MethodDescription": {
        "name": "npo",
        "summary": "Negative preference optimisation: the text to forget is an answer that is not preferred.",
        "formula": "-2/β · mean log σ(-β (log p - log p0))",
        "needs": ["retain"],
        "retain_terms": ["kl"],
        "parameters": {"type": "object", "properties": {"beta": {"type": "number", "default": 0.1}}},
        "defaults": {"beta": 0.1},
        "source": {"paper": "Zhang et al. 2024", "url": "https://arxiv.org/abs/2404.05868"},
    },
    "Bound": DEFAULT_POLICY.bounds[0].model_dump(mode="json"),
    "File": {
        "filename": "forget.jsonl",
        "bytes": 6840,
        "records": 40,
        "format": "jsonl",
        "expires_at": "2027-02-26T09:30:00Z",
    },
    "Model": {
        "id": "demo",
        "status": "ready",
        "revision": "4e20de362430cd3b72f300e6b0f18e50e7166e08",
        "digest": SHA256,
    },
    "Checkpoint": {
        "step": 50,
        "bytes": 2471645608,
        "base_model": "demo",
        "verdict": "passed",
        "released": True,
        "released_at": LATE,
        "created_at": LATE,
    },
    "FileEntry": {"bytes": 2471645608},
    "Event": {"seq": 12, "type": "phase", "level": "info", "data": {"phase": "unlearning"}},
    "Key": {"name": "nightly import", "prefix": "ulk_q2K7", "scopes": ["files:write", "jobs:write"]},
    "NewKey": {"name": "nightly import", "prefix": "ulk_q2K7", "scopes": ["files:write", "jobs:write"]},
    "WebhookDelivery": {"status": "delivered", "delivered_at": EARLY},
    "DeliveryAttempt": {"http_status": 204},
    "Figure": {"value": 41.7, "low": 33.9, "high": 51.2, "records": 40},
}
"""Values of some schemas' fields, by the schema's name; a field that the schema does not have is left out."""
