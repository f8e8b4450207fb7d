"""Resources of the API, such as models and jobs: groups of operations that both clients have.

A method is written once, as steps. In a blocking client it returns the result, or an iterator of items; in an
asynchronous client a coroutine, or an asynchronous iterator.
"""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from api.client.steps import Items, Steps
from api.client.transport import AsyncTransport, BlockingTransport

P = ParamSpec("P")
T = TypeVar("T")
Transport = TypeVar("Transport", BlockingTransport, AsyncTransport)


class Resource(Generic[Transport]):
    """A group of operations, with the transport that performs them."""

    def __init__(self, transport: Transport) -> None:
        self.transport: Transport = transport


class operation(Generic[P, T]):
    """Decorates steps that end in one result: they become a method of both clients."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Steps[T]]) -> None:
        self._steps = steps
        self.__doc__ = steps.__doc__

    @overload
    def __get__(self, resource: Resource[BlockingTransport], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, resource: Resource[AsyncTransport], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, resource: Any, owner: type) -> Any:
        return _method(self._steps, resource, "run")


class stream(Generic[P, T]):
    """Decorates steps that emit items: they become a method of both clients."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Items[T]]) -> None:
        self._steps = steps
        self.__doc__ = steps.__doc__

    @overload
    def __get__(self, resource: Resource[BlockingTransport], owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, resource: Resource[AsyncTransport], owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, resource: Any, owner: type) -> Any:
        return _method(self._steps, resource, "items")


def _method(steps: Callable[..., Any], resource: Any, perform: str) -> Any:
    if resource is None:  # of the class, for `help`
        return steps

    @functools.wraps(steps)
    def method(*arguments: Any, **keywords: Any) -> Any:
        return getattr(resource.transport, perform)(steps(resource, *arguments, **keywords))

    return method
