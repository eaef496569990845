"""Runs the server of a review on this machine alone, until it is stopped."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable

import uvicorn

from transect.errors import TransectError
from transect.review.server import app_of
from transect.review.session import Session

__all__ = ["serve"]

HOST = "127.0.0.1"


def serve(session: Session, *, port: int, told: Callable[[str], None]) -> None:
    """Serve a review until Ctrl-C.

    Args:
        session: The review.
        port: Where to listen on 127.0.0.1; 0 takes a free one.
        told: Called with the address once it can be opened.

    Raises:
        TransectError: If the port is in use.
    """
    token = secrets.token_urlsafe(24)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise TransectError(
                f"port {port} of {HOST} cannot be used ({error}). Choose another --port, or leave "
                "it out to get a free one."
            ) from error
        listening.listen(64)
        told(f"http://{HOST}:{listening.getsockname()[1]}/{token}/")
        # No access log: the addresses hold the token.
        config = uvicorn.Config(
            app_of(session, token),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        uvicorn.Server(config).run(sockets=[listening])
