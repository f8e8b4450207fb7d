"""The signature of a checkpoint in the format of OpenSSF model-signing 1.x: `model_signing verify key` accepts it.

The format is a Sigstore bundle around a DSSE envelope around an in-toto statement, whose predicate lists the files. It
is written here because the library (PyPI `model-signing`) hashes files, which the signer does not have, and brings the
clients of Sigstore and TUF along; the tests verify with the library.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from core.evidence.envelope import pre_authentication_encoding, sign
from core.evidence.key_set import to_pem
from core.schema.manifest import MANIFEST_NAME, FileEntry
from core.schema.statements import PAYLOAD_TYPE, STATEMENT_TYPE

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
SIGNATURE_NAME = "model.sig"
IGNORED = (MANIFEST_NAME, SIGNATURE_NAME, ".cache", ".git", ".gitattributes", ".gitignore")
"""Paths that a verifier leaves out: files that an archive or a download tool adds, and the signature itself."""


def sign_model(name: str, files: Sequence[FileEntry], key: EllipticCurvePrivateKey) -> dict[str, Any]:
    """Returns the bundle that signs the files under the model's name."""
    ordered = sorted(files, key=lambda file: PurePosixPath(file.path))
    root = hashlib.sha256(b"".join(bytes.fromhex(file.sha256) for file in ordered)).hexdigest()
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": list(IGNORED),
            },
            "resources": [{"name": file.path, "algorithm": "sha256", "digest": file.sha256} for file in ordered],
        },
    }
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    signature = sign(key, pre_authentication_encoding(payload, PAYLOAD_TYPE))
    return {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(to_pem(key.public_key()).encode()).hexdigest()},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
