"""The OpenAPI document: FastAPI's own, with the schemas and descriptions that a client generator needs."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.http.examples import compose
from api.http.problems import MEDIA_TYPE, ProblemDocument, example_problem, problem_responses

SERVERS = [{"url": "/", "description": "the service that this document comes from"}]

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
"""The content of a binary answer, in the form that client generators understand."""

PATH_PARAMETERS = {
    "checkpoint": "the checkpoint's id, `ckpt-…`",
    "delivery": "the delivery's id, `delivery-…`",
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
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            webhooks=app.webhooks.routes,
            servers=SERVERS,
        )
        problem_schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(problem_schema.pop("$defs", {}))
        schemas["ProblemDocument"] = problem_schema
        examples = schema["components"].setdefault("examples", {})
        for operations in [*schema["paths"].values(), *schema.get("webhooks", {}).values()]:
            for operation in operations.values():
                _describe_path_parameters(operation.get("parameters", []))
                _complete_errors(operation)
                _add_examples(operation, schemas, examples)
        app.openapi_schema = schema
    return app.openapi_schema


def _complete_errors(operation: dict[str, Any]) -> None:
    """Adds the errors that do not depend on the route: those of every body, and of a database that is down."""
    if "security" not in operation:
        return
    body = operation.get("requestBody")
    added = problem_responses(503, *((413, 415) if body else ()))
    operation["responses"] = dict(sorted({**{str(key): added[key] for key in added}, **operation["responses"]}.items()))


def _add_examples(operation: dict[str, Any], schemas: dict[str, Any], examples: dict[str, Any]) -> None:
    """Adds an example to each JSON body, to each JSON answer and to each parameter in the path.

    Those of problems are in `examples`, once for each status.
    """
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        if media_type == "application/json" and "examples" not in content:
            content["example"] = compose(content["schema"], schemas, request=True)
    for status, answer in operation["responses"].items():
        for media_type, content in answer.get("content", {}).items():
            if "example" in content or "examples" in content or "schema" not in content:
                continue
            if media_type == "application/json":
                content["example"] = compose(content["schema"], schemas)
            elif media_type == MEDIA_TYPE:
                content["examples"] = {"problem": {"$ref": f"#/components/examples/Problem{status}"}}
                examples[f"Problem{status}"] = {"value": example_problem(int(status))}
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            described = parameter["schema"] | {"description": parameter["description"]}
            parameter.setdefault("example", compose(described, {}, name=parameter["name"]))


def _describe_path_parameters(parameters: list[dict[str, Any]]) -> None:
    for parameter in parameters:
        if parameter["in"] == "path":
            parameter.setdefault("description", PATH_PARAMETERS[parameter["name"]])
