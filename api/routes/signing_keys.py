"""The signer's public keys, for whoever checks its signatures."""

from fastapi import APIRouter
from starlette.responses import Response

from api.dependencies import ContextDep
from api.http.serializers import json_response
from core.evidence.key_set import describe_key
from core.records import signing
from core.records.tables import SigningKeyRow
from core.schema.signing_keys import SigningKey, SigningKeySet

router = APIRouter(tags=["evidence"])

CACHE_SECONDS = 60
"""How long a reader may keep the keys: a revocation is to be seen soon."""


@router.get("/.well-known/jwks.json", response_model=SigningKeySet, summary="Get the signer's public keys")
async def get_signing_keys(context: ContextDep) -> Response:
    """Returns all public keys that the signer has ever had, as a JSON Web Key Set (RFC 7517), for everybody.

    `unlearn verify --keys` reads this file. A key that was replaced stays in it, since its earlier signatures stay
    valid. None of the signatures of a revoked key count.
    """
    async with context.sessions() as session:
        rows = await signing.list_keys(session)
    content = SigningKeySet(keys=[_serialize(row) for row in rows])
    return json_response(content, headers={"Cache-Control": f"public, max-age={CACHE_SECONDS}"})


def _serialize(row: SigningKeyRow) -> SigningKey:
    return describe_key(
        row.public_key,
        "evidence" if row.purpose == "evidence" else "model",
        not_before=row.not_before,
        not_after=row.not_after,
        revoked_at=row.revoked_at,
        revocation_reason=row.revocation_reason,
    )
