"""The OpenAPI document: what FastAPI says of the routes, and what a client generator needs beside."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.http.problems import ProblemDocument

SERVERS = [{"url": "/", "description": "the service that this document comes from"}]

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
"""Bytes, as client generators know them."""

PATH_PARAMETERS = {
    "checkpoint": "the checkpoint's id, `ckpt-…`",
    "file": "the file's id, `file-…`",
    "job": "the job's id, `job-…`",
    "key": "the key's id, `key-…`",
    "measurement": "the measurement's id, `meas-…`",
    "model": "the model's id, as it was registered",
    "name": "its name",
    "path": "of a file of the checkpoint, as its `files` list it",
}


def operation_id(route: APIRoute) -> str:
    """Returns the name of the route's function, such as `list_jobs`: unique, and what generated clients call it."""
    return route.name


def openapi(app: FastAPI) -> dict[str, Any]:
    """Returns the document, made once for each app."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, servers=SERVERS
        )
        described = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(described.pop("$defs", {}))
        schemas["ProblemDocument"] = described
        for operations in schema["paths"].values():
            for operation in operations.values():
                _describe(operation.get("parameters", []))
        app.openapi_schema = schema
    return app.openapi_schema


def _describe(parameters: list[dict[str, Any]]) -> None:
    for parameter in parameters:
        if parameter["in"] == "path":
            parameter.setdefault("description", PATH_PARAMETERS[parameter["name"]])
