"""An uploaded file, and how the service describes it."""

import hashlib

CONTENT = bytes(range(256)) * 4
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = (
    f'{{"id": "file-0", "filename": "a.txt", "format": "txt", "purpose": "forget", "bytes": {len(CONTENT)},'
    f' "sha256": "{SHA256}", "records": 1, "created_at": "2026-01-01T00:00:00Z", "expires_at": null}}'
).encode()
