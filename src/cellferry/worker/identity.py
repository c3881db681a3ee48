"""Who is asking? The connection has answered that already.

Only the acceptor hands connections to this server, and each of them is from our own user (unix socket, checked by
Linux) or from the holder of the one pinned client key (mutual TLS 1.3). A token would be one more secret to keep.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.identity import IdentityProvider, User


class ConnectionIdentity(IdentityProvider):
    """Every request comes from the owner of the worker, because every connection does."""

    def get_user(self, handler: Any) -> User:
        return User(username="owner", name="owner", display_name="the owner of this worker")

    @property
    def auth_enabled(self) -> bool:
        return True  # else Jupyter warns that everybody may come in

    @property
    def login_available(self) -> bool:
        return False

    def get_handlers(self) -> list[Any]:
        return []  # no login page: there is nothing to log in with

    def validate_security(self, app: Any, ssl_options: Any = None) -> None:
        """Nothing to check: the acceptor is the security."""
