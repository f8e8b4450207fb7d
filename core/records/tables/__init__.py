"""The tables. PostgreSQL is the source of truth: a fact that is not here did not happen."""

from core.records.tables.access import ApiKey, AuditRow, IdempotencyKey, Organisation
from core.records.tables.base import Base, Now
from core.records.tables.checkpoints import CheckpointFile, CheckpointRow
from core.records.tables.dispatch import OutboxRow, WorkerRow
from core.records.tables.inputs import FileRow, ModelRow, PolicyRow, SampleKeyRow
from core.records.tables.jobs import CurveRow, EventRow, ForgottenRecordsRow, JobFile, JobRow, MeasurementRow
from core.records.tables.signing import SignedHeadRow, SigningKeyRow, SigningRequestRow, StatementRow
from core.records.tables.webhooks import WebhookDeliveryRow

__all__ = [
    "ApiKey",
    "AuditRow",
    "Base",
    "CheckpointFile",
    "CheckpointRow",
    "CurveRow",
    "EventRow",
    "FileRow",
    "ForgottenRecordsRow",
    "IdempotencyKey",
    "JobFile",
    "JobRow",
    "MeasurementRow",
    "ModelRow",
    "Now",
    "Organisation",
    "OutboxRow",
    "PolicyRow",
    "SampleKeyRow",
    "SignedHeadRow",
    "SigningKeyRow",
    "SigningRequestRow",
    "StatementRow",
    "WebhookDeliveryRow",
    "WorkerRow",
]
