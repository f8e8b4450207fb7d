"""JSON bodies, read by pydantic's parser, which refuses text that UTF-8 cannot encode."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json


class _JsonRequest(Request):
    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError:
            # the error that FastAPI expects, without the body
            raise json.JSONDecodeError("not valid JSON", "", 0) from None


class JsonRoute(APIRoute):
    """A route with a JSON body. Lone surrogates, NaN and extreme nesting are not valid JSON here."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handle_json
