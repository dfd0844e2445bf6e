"""One definition of each call, bound to a blocking or an asynchronous shell."""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

from heimdall_client.blocking import BlockingShell
from heimdall_client.nonblocking import AsyncShell
from heimdall_client.steps import Feed, Flow

P = ParamSpec("P")
T = TypeVar("T")


class Blocking:
    """Operations that return when they are done."""

    def __init__(self, shell: BlockingShell) -> None:
        self._shell = shell


class NonBlocking:
    """Operations to be awaited."""

    def __init__(self, shell: AsyncShell) -> None:
        self._shell = shell


class Answering(Generic[P, T]):
    """A method that gives one result."""

    def __init__(self, build: Callable[P, Flow[T]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: Blocking, owner: type) -> Callable[P, T]: ...

    @overload
    def __get__(self, instance: NonBlocking, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, instance: Blocking | NonBlocking | None, owner: type) -> Any:
        """The method of one client."""
        if instance is None:
            return self
        shell, build = instance._shell, self.build  # noqa: SLF001 - the other half of this class

        @functools.wraps(build)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return shell.run(build(*args, **kwargs))

        return call


class Iterating(Generic[P, T]):
    """A method that gives items one by one."""

    def __init__(self, build: Callable[P, Feed[T]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...

    @overload
    def __get__(self, instance: NonBlocking, owner: type) -> Callable[P, AsyncIterator[T]]: ...

    def __get__(self, instance: Blocking | NonBlocking | None, owner: type) -> Any:
        """The method of one client."""
        if instance is None:
            return self
        shell, build = instance._shell, self.build  # noqa: SLF001 - the other half of this class

        @functools.wraps(build)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return shell.iterate(build(*args, **kwargs))

        return call
