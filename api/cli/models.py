"""`unlearn models`: registers, lists, shows and deletes models."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from api.cli.listing import fields, size_text, table
from api.cli.session import Session, service_command
from api.cli.uploads import Uploads
from core.schema.files import Purpose
from core.schema.models import Model, ReleasePolicy

app = typer.Typer(help="Register, list, show and delete models.", no_args_is_help=True)

ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="The id of a registered model.")]
FileOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="Jobs use this file by default: a path, or the id of an upload.")
]
COLUMNS = ("model", "status", "weights", "policy", "head", "release", "registered (UTC)", "dtype")


@app.command("register")
@service_command
def register(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The name by which jobs call the model.")],
    source: Annotated[
        str, typer.Argument(help="A directory that the service may read, or 'hf:org/name@revision' of the Hub.")
    ],
    retain: FileOption = None,
    unseen: FileOption = None,
    general: FileOption = None,
    probes: FileOption = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], typer.Option(help="The weights' format in checkpoints.")
    ] = "auto",
    policy: Annotated[str | None, typer.Option(help="The policy of every job on the model.")] = None,
    release: Annotated[
        ReleasePolicy | None, typer.Option(help="Which checkpoints are released without a person's decision.")
    ] = None,
    training_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens that the model was trained on, for the cost of a retraining.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the model is ready.")] = False,
) -> None:
    """Register a model. It is fetched and checked while the command returns, or with --wait before."""
    body: dict[str, Any] = {"id": model, "source": _absolute(source), "dtype": dtype}
    options = {"policy": policy, "release": release, "training_tokens": training_tokens}
    body |= {name: value for name, value in options.items() if value is not None}
    files: dict[Purpose, str | None] = {"retain": retain, "unseen": unseen, "general": general, "probes": probes}
    with Uploads(session.client, session.err) as uploads:
        body["defaults"] = {name: uploads.resolve(file, name) for name, file in files.items() if file is not None}
        registered = session.client.models.register(body)
        uploads.keep()
    if wait:
        registered = session.client.models.wait(model)
    session.show(registered, f"{registered.id} is {registered.status}")
    if registered.status == "failed":
        session.fail(f"{registered.id} cannot be used: {registered.error}")


@app.command("list")
@service_command
def list_models(
    session: Session,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The number of models to list.")] = 20,
    after: Annotated[str | None, typer.Option(help="List the models that follow this one.")] = None,
) -> None:
    """List the registered models by name."""
    page = session.client.models.page(limit=limit, after=after)
    rows = [
        (it.id, it.status, it.shape and it.shape.parameters, it.policy, it.head, it.release, it.created_at, it.dtype)
        for it in page.data
    ]
    session.show_page(page, table(COLUMNS, rows, width=session.out.width, numbers=["weights"]))


@app.command("show")
@service_command
def show(session: Session, model: ModelId) -> None:
    """Show a model: its status, sizes, digest, defaults, and its newest released checkpoint."""
    it = session.client.models.get(model)
    session.show(it, fields(_fields(it)))


@app.command("delete")
@service_command
def delete(
    session: Session, model: Annotated[list[str], typer.Argument(metavar="MODEL...", help="The ids of the models.")]
) -> None:
    """Delete registrations. The models' own files and all checkpoints stay."""
    for id in model:
        session.client.models.delete(id)
        session.say(f"{id} is deleted")
    session.show({"deleted": model})


def _absolute(source: str) -> str:
    """Returns the directory's full path, since the service has another working directory."""
    return source if source.startswith("hf:") else str(Path(source).absolute())


def _fields(model: Model) -> dict[str, object]:
    shape = model.shape
    return {
        "model": model.id,
        "status": model.status,
        "error": model.error,
        "source": model.source,
        "revision": model.revision,
        "digest": model.digest,
        "architecture": shape and shape.architecture,
        "weights": shape and shape.parameters,
        "size": shape and size_text(shape.bytes),
        "context": shape and shape.context,
        "head": model.head or "the registered model itself",
        "policy": model.policy,
        "release": model.release,
        **{f"default {name} file": file for name, file in model.defaults.model_dump().items()},
        "registered (UTC)": model.created_at,
    }
