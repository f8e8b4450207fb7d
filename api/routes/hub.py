"""The part of the Hugging Face Hub's protocol that downloads models: `HF_ENDPOINT=<service>/hub HF_TOKEN=<key>`.

A repository is a job or a model of the key's organisation, a revision is a checkpoint. `main` is the job's checkpoint,
and of a model its head.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from api.auth import Caller
from api.dependencies import AnyKey, Context, ContextDep, JobsRead
from api.downloads.checkpoint_file import FILE_RESPONSES, check_released, send_file
from api.http.hub_route import (
    REPO_COMMIT,
    HubRoute,
    entry_not_found,
    repository_not_found,
    revision_not_found,
)
from api.http.problems import not_found, problem_responses
from api.http.serializers import serialize_file_entry
from core.records import checkpoints, keys, repositories
from core.records.repositories import Repository
from core.records.tables import CheckpointRow
from core.schema import hub
from core.schema.hub import HubEntries, HubIdentity, HubModel, HubReference, HubReferences, commit_of
from core.schema.manifest import FileEntry

router = APIRouter(prefix="/hub", tags=["hub"], route_class=HubRoute)

MAX_TAGS = 1000
ABOUT = "/api/models/{organisation}/{repository}"
Recursive = Annotated[bool, Query(description="whether to list what lies in folders, too")]


@router.get("/api/whoami-v2", summary="Get the token's owner, as the Hub gives it", responses=problem_responses())
async def hub_identity(context: ContextDep, caller: AnyKey) -> HubIdentity:
    """Describes the key and its organisation, which is the first part of every repository's name. Any key may ask."""
    async with context.sessions() as session:
        key = await keys.get(session, caller.organisation, caller.key)
        organisation = await repositories.organisation_name(session, caller.organisation)
    if key is None:
        raise not_found("key")
    return HubIdentity(
        name=key.id,
        fullname=key.name,
        orgs=[hub.HubOrganisation(name=organisation, fullname=organisation)],
        auth=hub.HubAuthentication(accessToken=hub.HubAccessToken(displayName=key.name)),
    )


@router.get(ABOUT, summary="Describe a repository", responses=problem_responses(404))
async def hub_model(organisation: str, repository: str, context: ContextDep, caller: JobsRead) -> HubModel:
    """Describes the repository at `main`. Scope: `jobs:read` or `jobs:write`."""
    return await _describe(organisation, repository, "main", context, caller)


@router.get(f"{ABOUT}/revision/{{revision:path}}", summary="Describe a revision", responses=problem_responses(404))
async def hub_revision(
    organisation: str, repository: str, revision: str, context: ContextDep, caller: JobsRead
) -> HubModel:
    """Describes the repository at a revision. Scope: `jobs:read` or `jobs:write`."""
    return await _describe(organisation, repository, revision, context, caller)


@router.get(f"{ABOUT}/refs", summary="List a repository's revisions", responses=problem_responses(404))
async def hub_references(organisation: str, repository: str, context: ContextDep, caller: JobsRead) -> HubReferences:
    """Lists `main` as the branch and every checkpoint, by its id, as a tag. Scope: `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        found = await _find_repository(session, caller, organisation, repository)
        main = None if found.main is None else await repositories.resolve(session, found, "main")
        rows = await repositories.revisions(session, found, limit=MAX_TAGS)
    branches = [] if main is None else [_reference("main", "refs/heads/main", main)]
    return HubReferences(branches=branches, tags=[_reference(row.id, f"refs/tags/{row.id}", row) for row in rows])


@router.get(
    f"{ABOUT}/auth-check",
    summary="Check whether a repository may be read",
    response_class=Response,
    responses=problem_responses(404),
)
async def hub_auth_check(organisation: str, repository: str, context: ContextDep, caller: JobsRead) -> Response:
    """Answers 200 where the key may download `main`, and 403 while that waits for its release.

    Scope: `jobs:read` or `jobs:write`.
    """
    async with context.sessions() as session:
        check_released(await _resolve(session, caller, organisation, repository, "main"), caller)
    return Response()


@router.get(
    f"{ABOUT}/tree/{{revision}}",
    summary="List the files of a revision",
    response_model_exclude_none=True,
    responses=problem_responses(404),
)
async def hub_tree(
    organisation: str,
    repository: str,
    revision: str,
    context: ContextDep,
    caller: JobsRead,
    recursive: Recursive = False,
) -> HubEntries:
    """Lists files and folders, always on one page. Scope: `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        row = await _resolve(session, caller, organisation, repository, revision)
        return hub.tree(await _entries(session, row), recursive=recursive)


@router.get(
    f"{ABOUT}/tree/{{revision}}/{{path:path}}",
    summary="List the files of a folder",
    response_model_exclude_none=True,
    responses=problem_responses(404),
)
async def hub_folder(
    organisation: str,
    repository: str,
    revision: str,
    path: str,
    context: ContextDep,
    caller: JobsRead,
    recursive: Recursive = False,
) -> HubEntries:
    """Lists what lies in a folder, always on one page. Scope: `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        row = await _resolve(session, caller, organisation, repository, revision)
        listed = hub.tree(await _entries(session, row), path.strip("/"), recursive=recursive)
    if not listed.root:
        raise entry_not_found(commit_of(row.digest))
    return listed


@router.post(
    f"{ABOUT}/paths-info/{{revision}}",
    summary="Describe some files of a revision",
    response_model_exclude_none=True,
    responses=problem_responses(404),
)
async def hub_paths_info(
    organisation: str,
    repository: str,
    revision: str,
    paths: Annotated[list[str], Form(max_length=1000, description="paths of files or folders")],
    context: ContextDep,
    caller: JobsRead,
) -> HubEntries:
    """Describes those of the paths that exist. Scope: `jobs:read` or `jobs:write`."""
    async with context.sessions() as session:
        row = await _resolve(session, caller, organisation, repository, revision)
        return hub.paths_info(await _entries(session, row), paths)


@router.get(
    "/{organisation}/{repository}/resolve/{revision}/{path:path}",
    summary="Download a file of a revision",
    response_class=Response,
    responses={**problem_responses(404, 416), **FILE_RESPONSES},
)
async def hub_download(
    organisation: str,
    repository: str,
    revision: str,
    path: str,
    request: Request,
    context: ContextDep,
    caller: JobsRead,
) -> Response:
    """Sends the file, or the range that is asked for; the `ETag` is the SHA-256. 403 while the checkpoint waits for its
    release.

    Scope: `jobs:read` or `jobs:write`.
    """
    return await _download(organisation, repository, revision, path, request, context, caller)


@router.head(
    "/{organisation}/{repository}/resolve/{revision}/{path:path}",
    summary="Get the commit, size and digest of a file",
    response_class=Response,
    responses={**problem_responses(404, 416), **FILE_RESPONSES},
)
async def hub_head(
    organisation: str,
    repository: str,
    revision: str,
    path: str,
    request: Request,
    context: ContextDep,
    caller: JobsRead,
) -> Response:
    """Answers as GET does, without the bytes. Scope: `jobs:read` or `jobs:write`."""
    return await _download(organisation, repository, revision, path, request, context, caller)


async def _download(
    organisation: str, repository: str, revision: str, path: str, request: Request, context: Context, caller: Caller
) -> Response:
    async with context.sessions() as session:
        row = await _resolve(session, caller, organisation, repository, revision)
        check_released(row, caller)
        file_row = await checkpoints.file(session, row.id, path)
    commit = commit_of(row.digest)
    if file_row is None:
        raise entry_not_found(commit)
    answer = await send_file(row, file_row, request, context, caller)
    answer.headers[REPO_COMMIT] = commit
    answer.headers["X-Linked-ETag"] = f'"{file_row.sha256}"'
    answer.headers["X-Linked-Size"] = str(file_row.size)
    return answer


async def _describe(organisation: str, repository: str, revision: str, context: Context, caller: Caller) -> HubModel:
    async with context.sessions() as session:
        row = await _resolve(session, caller, organisation, repository, revision)
        entries = await _entries(session, row)
    library: Any = "peft" if any(entry.path == "adapter_config.json" for entry in entries) else "transformers"
    return HubModel(
        id=f"{organisation}/{repository}",
        modelId=f"{organisation}/{repository}",
        author=organisation,
        sha=commit_of(row.digest),
        gated=False if row.released else "manual",
        createdAt=row.created_at,
        lastModified=row.created_at,
        library_name=library,
        tags=[library, "safetensors", "text-generation", f"base_model:{row.model}", f"unlearned:{row.method}"],
        siblings=[hub.sibling(entry) for entry in entries],
        usedStorage=row.size,
    )


async def _find_repository(session: AsyncSession, caller: Caller, organisation: str, name: str) -> Repository:
    """Returns the repository. Problem: 404 RepoNotFound."""
    found = await repositories.find(session, caller.organisation, organisation, name)
    if found is None:
        raise repository_not_found(f"{organisation}/{name}")
    return found


async def _resolve(
    session: AsyncSession, caller: Caller, organisation: str, repository: str, revision: str
) -> CheckpointRow:
    """Returns the checkpoint. Problem: 404 RepoNotFound, RevisionNotFound."""
    found = await _find_repository(session, caller, organisation, repository)
    if revision == "main" and found.main is None:
        raise revision_not_found(f"{organisation}/{repository} has no checkpoint yet that `main` could stand for")
    row = await repositories.resolve(session, found, revision)
    if row is None:
        raise revision_not_found("a revision is `main`, a checkpoint's id or its commit, and there is no such one here")
    return row


async def _entries(session: AsyncSession, row: CheckpointRow) -> list[FileEntry]:
    return [serialize_file_entry(file) for file in await checkpoints.files(session, row.id)]


def _reference(name: str, ref: str, row: CheckpointRow) -> HubReference:
    return HubReference(name=name, ref=ref, targetCommit=commit_of(row.digest))
