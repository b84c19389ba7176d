"""The compiler cache that machines share, as the libraries of a repository use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import field
from typing import TYPE_CHECKING

from envmatrix.console import Console
from envmatrix.machine.configuration import SharedCache, user_configuration
from envmatrix.machine.trust import VARIABLE, TrustGroup
from envmatrix.parallel import Once
from envmatrix.records import dataclass

if TYPE_CHECKING:
    from envmatrix.sessions.context import BuildContext


@dataclass(frozen=True, slots=True)
class SharedCompilerCache:
    """A shared cache, and the group of a repository in it. Several libraries may use it at once; if
    it fails, there is one warning, and none of them waits for it again."""

    cache: SharedCache
    trust: TrustGroup
    failure: Once = field(default_factory=Once)
    refusal: Once = field(default_factory=Once)

    @contextmanager
    def answering(self, context: BuildContext, console: Console) -> Iterator[bool]:
        """Answer the containers of a library at its socket; yield whether they can use it."""
        group = self.trust.shared_name(context.library.trust)
        if group is None and self.refusal.happens():
            message = "the shared compiler cache is not used: this repository has no trust group"
            hint = f"name one in `[trust]` of `{user_configuration()}` or in ${VARIABLE}"
            console.say(f"{message}; {hint}")
        if group is None or context.compiler_cache is None:
            yield False
            return
        from envmatrix.shared_cache.gateway import open_gateway

        def warn(reason: str) -> None:
            console.warn(f"going on without the compiler cache `{self.cache.location}`: {reason}")

        with ExitStack() as stack:
            try:
                gateway = open_gateway(context.cache_socket, self.cache, group, self.failure, warn)
                stack.enter_context(gateway)
            except OSError as error:
                warn(str(error))
                yield False
            else:
                yield True
