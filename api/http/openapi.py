"""The OpenAPI document: FastAPI's own, with the schemas and descriptions that a client generator needs."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.http.problems import ProblemDocument

SERVERS = [{"url": "/", "description": "the service that this document comes from"}]

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
"""The content of a binary answer, in the form that client generators understand."""

PATH_PARAMETERS = {
    "checkpoint": "the checkpoint's id, `ckpt-…`",
    "file": "the file's id, `file-…`",
    "job": "the job's id, `job-…`",
    "key": "the key's id, `key-…`",
    "measurement": "the measurement's id, `meas-…`",
    "model": "the model's id, chosen when it was registered",
    "name": "the name of the method or policy",
    "organisation": "the organisation's name or id",
    "path": "the file's path, as in the checkpoint's `files`",
    "repository": "the id of a job or of a model",
    "revision": "`main`, a checkpoint's id, or the first 40 characters of its digest",
}


def operation_id(route: APIRoute) -> str:
    """Returns the name of the route's function, such as `list_jobs`, which generated clients use as well."""
    return route.name


def openapi(app: FastAPI) -> dict[str, Any]:
    """Returns the document, which is built once for each app."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, servers=SERVERS
        )
        problem_schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(problem_schema.pop("$defs", {}))
        schemas["ProblemDocument"] = problem_schema
        for operations in schema["paths"].values():
            for operation in operations.values():
                _describe_path_parameters(operation.get("parameters", []))
        app.openapi_schema = schema
    return app.openapi_schema


def _describe_path_parameters(parameters: list[dict[str, Any]]) -> None:
    for parameter in parameters:
        if parameter["in"] == "path":
            parameter.setdefault("description", PATH_PARAMETERS[parameter["name"]])
