"""Answers in the form of the Hugging Face Hub's API, as its client libraries read them."""

import hashlib
from datetime import datetime
from typing import Literal

from pydantic import Field, RootModel

from core.schema.manifest import FileEntry
from core.schema.strict import Answer

COMMIT_LENGTH = 40
"""Characters of a checkpoint's digest that are its commit. Clients keep what they download under names of this form
for good, and ask again for any other."""


def commit_of(digest: str) -> str:
    """Returns the commit of the checkpoint with this digest."""
    return digest[:COMMIT_LENGTH]


class HubLfs(Answer):
    """The entry of a file that Git LFS would keep beside the repository. All files of a checkpoint are described so,
    because LFS names files by their sha256, as a manifest does."""

    oid: str = Field(description="The sha256 of the file, in hexadecimal digits.")
    sha256: str = Field(description="The same sha256, under the name that file lists of a repository use.")
    size: int = Field(description="The size in bytes.")
    pointerSize: int = Field(description="The size of the file's LFS pointer in bytes.")


class HubEntry(Answer):
    """An entry of a repository's tree."""

    type: Literal["file", "directory"] = Field(description="`file` or `directory`.")
    path: str = Field(description="The path in the repository.")
    oid: str = Field(description="The git id: of a file's LFS pointer; of a directory, of the paths below it.")
    size: int = Field(description="The size in bytes; 0 for a directory.")
    lfs: HubLfs | None = Field(default=None, description="The file's sha256 and size; absent for a directory.")


class HubEntries(RootModel[list[HubEntry]]):
    """Files and directories of a repository, in order of path."""


class HubSibling(Answer):
    """A file in the description of a repository."""

    rfilename: str = Field(description="The path in the repository.")
    size: int = Field(description="The size in bytes.")
    blobId: str = Field(description="The git id of the file's LFS pointer.")
    lfs: HubLfs = Field(description="The file's sha256 and size.")


class HubModel(Answer):
    """A repository at a revision: a checkpoint of a job or of a model."""

    id: str = Field(description="The repository: `<organisation>/<job or model>`.")
    modelId: str = Field(description="The same, under its older name.")
    author: str = Field(description="The organisation.")
    sha: str = Field(description="The commit: the first 40 characters of the checkpoint's digest.")
    private: Literal[True] = Field(default=True, description="Always true: every request needs a key.")
    gated: Literal["manual"] | bool = Field(
        description="`manual` while the checkpoint waits for its release (its files then answer 403), else `false`."
    )
    disabled: Literal[False] = Field(default=False, description="Always false.")
    createdAt: datetime = Field(description="When the checkpoint was made.")
    lastModified: datetime = Field(description="When the checkpoint was made.")
    library_name: Literal["transformers", "peft"] = Field(description="The library that loads the files.")
    pipeline_tag: Literal["text-generation"] = Field(
        default="text-generation", description="The task that transformers' `pipeline` takes the model for."
    )
    tags: list[str] = Field(description="The library, the weights' format, the base model and the method.")
    siblings: list[HubSibling] = Field(description="The files, in order of path.")
    usedStorage: int = Field(description="The size of all files in bytes.")


class HubReference(Answer):
    """A name of a commit."""

    name: str = Field(description="The name: `main`, or a checkpoint's id.")
    ref: str = Field(description="The full name, such as `refs/heads/main`.")
    targetCommit: str = Field(description="The commit.")


class HubReferences(Answer):
    """The names that a repository's commits have."""

    branches: list[HubReference] = Field(
        description="`main`: the job's checkpoint, or the model's head. Empty: there is none yet."
    )
    tags: list[HubReference] = Field(description="Every checkpoint by its id, newest first.")
    converts: list[HubReference] = Field(default=[], description="Always empty.")
    pullRequests: list[HubReference] = Field(default=[], description="Always empty.")


class HubOrganisation(Answer):
    """An organisation of a token's owner."""

    type: Literal["org"] = Field(default="org", description="Always `org`.")
    name: str = Field(description="The organisation's name, as in the repositories' names.")
    fullname: str = Field(description="The same name.")


class HubAccessToken(Answer):
    """A token, as its owner sees it."""

    displayName: str = Field(description="The API key's name.")
    role: Literal["read"] = Field(default="read", description="Always `read`: nothing can be uploaded on this way.")


class HubAuthentication(Answer):
    """The means by which a request proved who sent it."""

    type: Literal["access_token"] = Field(default="access_token", description="Always `access_token`.")
    accessToken: HubAccessToken = Field(description="The API key.")


class HubIdentity(Answer):
    """The owner of a token, as `hf auth whoami` shows it."""

    type: Literal["user"] = Field(default="user", description="Always `user`.")
    name: str = Field(description="The API key's id.")
    fullname: str = Field(description="The API key's name.")
    orgs: list[HubOrganisation] = Field(description="The key's organisation.")
    auth: HubAuthentication = Field(description="How the request was authenticated.")


def _git_id(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def _pointer(entry: FileEntry) -> bytes:
    """Returns the LFS pointer of a file (git-lfs, docs/spec.md)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{entry.sha256}\nsize {entry.bytes}\n".encode()


def _lfs(entry: FileEntry) -> HubLfs:
    return HubLfs(oid=entry.sha256, sha256=entry.sha256, size=entry.bytes, pointerSize=len(_pointer(entry)))


def file_entry(entry: FileEntry) -> HubEntry:
    """Returns the tree's entry of a file."""
    oid = _git_id("blob", _pointer(entry))
    return HubEntry(type="file", path=entry.path, oid=oid, size=entry.bytes, lfs=_lfs(entry))


def sibling(entry: FileEntry) -> HubSibling:
    """Returns the file as the description of its repository lists it."""
    oid = _git_id("blob", _pointer(entry))
    return HubSibling(rfilename=entry.path, size=entry.bytes, blobId=oid, lfs=_lfs(entry))


def tree(entries: list[FileEntry], folder: str = "", *, recursive: bool) -> HubEntries:
    """Returns the files and directories in a folder, and with `recursive` those below them, in order of path.

    Empty: there is no such folder.
    """
    prefix = f"{folder}/" if folder else ""
    listed: dict[str, HubEntry] = {}
    for entry in entries:
        if not entry.path.startswith(prefix):
            continue
        parts = entry.path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts) if recursive else min(2, len(parts))):
            path = prefix + "/".join(parts[:depth])
            listed[path] = directory_entry(entries, path)
        if recursive or len(parts) == 1:
            listed[entry.path] = file_entry(entry)
    return HubEntries([listed[path] for path in sorted(listed)])


def directory_entry(entries: list[FileEntry], path: str) -> HubEntry:
    """Returns the tree's entry of a directory."""
    below = "\n".join(f"{entry.path} {entry.sha256}" for entry in entries if entry.path.startswith(f"{path}/"))
    return HubEntry(type="directory", path=path, oid=_git_id("tree", below.encode()), size=0)


def paths_info(entries: list[FileEntry], paths: list[str]) -> HubEntries:
    """Returns the entries of those paths that exist."""
    files = {entry.path: entry for entry in entries}
    found = []
    for path in dict.fromkeys(path.strip("/") for path in paths):
        if path in files:
            found.append(file_entry(files[path]))
        elif any(name.startswith(f"{path}/") for name in files):
            found.append(directory_entry(entries, path))
    return HubEntries(found)
