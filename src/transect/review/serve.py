"""Serves a review on this machine alone, beside whatever else the process does."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Iterator

import uvicorn

from transect.errors import TransectError
from transect.review.server import app_of
from transect.review.session import Session

__all__ = ["serving"]

HOST = "127.0.0.1"
_GRACE_SECONDS = 1  # for answers that are on their way when the server ends


@contextlib.contextmanager
def serving(session: Session, *, port: int = 0) -> Iterator[str]:
    """Serve a review from a thread until the block is left.

    Args:
        session: The review.
        port: Where to listen on 127.0.0.1; 0 takes a free one.

    Yields:
        The address to open; who has it can change the review.

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
        # No access log: the addresses hold the token.
        config = uvicorn.Config(
            app_of(session, token),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=server.run, args=([listening],), name="transect-review", daemon=True
        )
        thread.start()
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}/{token}/"
        finally:
            server.should_exit = True
            thread.join(_GRACE_SECONDS + 1)
