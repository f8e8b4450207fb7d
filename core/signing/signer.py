"""The signer's work: keys that are always there, statements about jobs, and heads of audit logs at intervals."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

import core
from core.evidence.envelope import PrivateKey
from core.evidence.model_signature import sign_model
from core.evidence.signed_head import sign_head
from core.evidence.statement import NoCheckpoint, checkpoint_files, sign_statement
from core.records import signing, statements
from core.records.retry import OutageWait, lacks_rights
from core.records.statements import TakenJob
from core.records.tables import SignedHeadRow, StatementRow
from core.report.assembly import assemble
from core.schema.signing_keys import PURPOSES, Purpose
from core.signing.key_folder import KeyFolder

log = logging.getLogger("unlearn.signer")

ROUND_SECONDS = 1.0
BATCH = 100
MINUTE = 60.0
PAUSES = (10.0, MINUTE, 5 * MINUTE, 15 * MINUTE, 60 * MINUTE)
"""Seconds before a job's second, third, … try after its statement failed. The last holds for all later tries."""
CODE = Path(core.__file__).parent


@dataclass(frozen=True)
class StatementKeys:
    """The keys that sign a statement and the model that it is about, each with its id."""

    evidence_id: str
    evidence: PrivateKey
    model_id: str
    model: EllipticCurvePrivateKey


class Signer:
    """Signs until it is told to stop. Several signers on one folder of keys do no harm: what is signed, is signed."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession], folder: KeyFolder, *, head_seconds: float) -> None:
        self._sessions = sessions
        self._folder = folder
        self._head_seconds = head_seconds
        self._outages = OutageWait()
        self._interrupted: TakenJob | None = None
        """A job whose statement an outage kept from being made, until its try is given back."""

    async def run(self, stop: asyncio.Event) -> None:
        """Works in rounds until `stop` is set.

        A round is repeated where the database or the folder of keys cannot be reached, and for a minute at most where
        rights are missing. Raises any other error, such as KeyMissing: it would come again in each round, and nobody
        would see that nothing is signed. Heads are signed before statements, so that no job holds them up. An error of
        one job is logged, and the job is tried again later.
        """
        next_heads = 0.0
        while not stop.is_set():
            now = asyncio.get_running_loop().time()
            healthy = await self._attempt("keys", self.ensure_keys)
            if now >= next_heads and healthy:
                healthy = await self._attempt("heads", self.sign_heads)
                next_heads = now + self._head_seconds if healthy else next_heads
            healthy = healthy and await self._attempt("statements", self.sign_statements)
            if healthy:
                self._folder.mark_alive()
            try:
                await asyncio.wait_for(stop.wait(), ROUND_SECONDS)
            except TimeoutError:
                continue

    async def ensure_keys(self) -> int:
        """Makes a key for each purpose that has none; returns how many it made."""
        made = 0
        for purpose in PURPOSES:
            async with self._sessions.begin() as session:
                if await signing.active_key(session, purpose) is None:
                    await self._replace(session, purpose)
                    made += 1
        return made

    async def rotate(self) -> list[str]:
        """Makes a new key for each purpose. The old keys' signatures stay valid; their private keys are deleted."""
        made = []
        for purpose in PURPOSES:
            async with self._sessions.begin() as session:
                id, retired = await self._replace(session, purpose)
            made.append(id)
            for old in retired:
                self._folder.delete(old)
        return made

    async def revoke(self, id: str, *, reason: str) -> bool:
        """Revokes a key, and makes another in its place where it is in use. False: there is no such key."""
        async with self._sessions.begin() as session:
            if await signing.revoke_key(session, id, reason=reason) is None:
                return False
            await statements.request_again(session, id)
        self._folder.delete(id)
        await self.ensure_keys()
        return True

    async def sign_statements(self) -> int:
        """Signs statements about the jobs that are due for one; returns how many it signed.

        Each job has transactions of its own. A job whose statement fails is tried again after growing pauses, for as
        long as it takes; a job that ends the process is as well. Neither holds up the others. Errors of the database
        and of the folder of keys are raised: they are no faults of the job, so its try is given back.
        """
        signed = 0
        for _ in range(BATCH):
            await self._give_back()
            async with self._sessions.begin() as session:
                await self._statement_keys(session)  # no job is taken that could not be signed
                taken = await statements.take_next(session, pauses=PAUSES)
            if taken is None:
                break
            try:
                signed += await self._sign_taken(taken)
            except Exception:
                self._interrupted = taken
                await self._give_back()
                raise
        return signed

    async def _give_back(self) -> None:
        """Gives the try of an interrupted job back, or leaves that to the next round where the database fails again."""
        if self._interrupted is not None:
            async with self._sessions.begin() as session:
                await statements.give_back(session, self._interrupted)
            self._interrupted = None

    async def _sign_taken(self, taken: TakenJob) -> int:
        """Returns the number of statements made, 0 or 1; logs a fault of the job. Raises every other error."""
        signed = 0
        async with self._sessions.begin() as session:
            keys = await self._statement_keys(session)
            try:
                async with session.begin_nested():
                    if await statements.complete(session, taken):
                        signed = await self._sign_statement(session, taken, keys)
            except Exception as error:
                if self._outages.covers(error) or lacks_rights(error):
                    raise
                self._report_fault(taken, error)
        return signed

    async def _statement_keys(self, session: AsyncSession) -> StatementKeys:
        evidence_id, evidence = await self._active(session, "evidence")
        model_id, model = await self._active(session, "model")
        if not isinstance(model, EllipticCurvePrivateKey):
            raise TypeError("the key for models is no elliptic curve key")
        return StatementKeys(evidence_id, evidence, model_id, model)

    async def _sign_statement(self, session: AsyncSession, taken: TakenJob, keys: StatementKeys) -> int:
        report = await assemble(session, taken.organisation, taken.job)
        signed_at = (await session.execute(select(func.clock_timestamp()))).scalar_one()
        try:
            if report is None:
                return 0
            envelope = sign_statement(report, keys.evidence, signed_at=signed_at)
            model_signature = sign_model(report.model.id, checkpoint_files(report), keys.model)
        except NoCheckpoint:
            return 0
        row = StatementRow(
            job=taken.job,
            key=keys.evidence_id,
            envelope=envelope.model_dump(),
            model_key=keys.model_id,
            model_signature=model_signature,
            signed_at=signed_at,
        )
        await statements.replace(session, row)
        return 1

    def _report_fault(self, taken: TakenJob, error: Exception) -> None:
        """Logs the error's class and its place in this code. Its text may quote a report, so it is left out."""
        frames = [frame for frame in extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(CODE)]
        place = f"{Path(frames[-1].filename).relative_to(CODE)}:{frames[-1].lineno}"
        name = type(error).__qualname__
        message = "no statement about %s: %s at %s; it was try %d, the next is in %.0f s"
        log.error(message, taken.job, name, place, taken.tries, taken.pause)

    async def sign_heads(self) -> int:
        """Signs the heads of all audit logs that have grown; returns how many it signed."""
        signed = 0
        while True:
            async with self._sessions.begin() as session:
                key_id, key = await self._active(session, "evidence")
                heads = await signing.unsigned_heads(session, limit=BATCH)
                signed_at = (await session.execute(select(func.clock_timestamp()))).scalar_one()
                for head in heads:
                    envelope = sign_head(head, key, signed_at=signed_at).model_dump()
                    row = {"organisation": head.organisation, "seq": head.seq, "key": key_id}
                    await session.merge(SignedHeadRow(**row, envelope=envelope, signed_at=signed_at))
            signed += len(heads)
            if len(heads) < BATCH:
                return signed

    async def _active(self, session: AsyncSession, purpose: Purpose) -> tuple[str, PrivateKey]:
        """Returns the id and the private key that sign now; the key is not retired before the transaction ends."""
        row = await signing.active_key(session, purpose)
        if row is None:
            raise LookupError(f"there is no key for the purpose {purpose}")
        return row.id, self._folder.load(row.id)

    async def _replace(self, session: AsyncSession, purpose: Purpose) -> tuple[str, list[str]]:
        """Returns the id of the new key, and the ids of the keys that it replaces."""
        # the file first: a key without a row signs nothing, but a row without a file could not sign
        id, public_key = self._folder.create(purpose)
        retired = await signing.replace_key(session, id=id, purpose=purpose, public_key=public_key)
        log.info("new signing key %s for %s", id, purpose)
        return id, retired

    async def _attempt(self, name: str, step: Callable[[], Awaitable[int]]) -> bool:
        """Makes a step. False: the next round tries again, since the database or the folder cannot be used now."""
        try:
            done = await step()
        except Exception as error:
            if not self._outages.covers(error):
                raise
            log.warning("signing step %s failed: %s", name, type(error).__name__)
            return False
        if done:
            log.info("signing step %s: %d", name, done)
        return True
