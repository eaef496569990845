"""The local web server of a review: one page, its tiles, its marks, and nothing to strangers."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from transect.errors import TransectError
from transect.review.matches import match_lines
from transect.review.session import Session
from transect.review.tiles import TILE_PX, Pyramids

__all__ = ["app_of"]

HEADERS = {
    # Nothing is loaded from, sent to or shown in another place, whatever a file name contains.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_MOST_BYTES = 4 << 20  # of one command: a stroke of 20,000 points has 400 kB
_LARGEST_CROP = 1600
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def app_of(session: Session, token: str) -> Starlette:
    """The application that serves one person's review.

    Every address begins with the token, so that only who was told the address gets anything; the
    name of the host must be this machine's own, so that no web page can reach it by a name that it
    controls.

    Args:
        session: The review.
        token: Long and random.
    """
    pages = _Pages(session)
    routes = [
        Route("/", pages.static),
        Route("/api/review", pages.review),
        Route("/api/image", pages.image),
        Route("/api/do", pages.do, methods=["POST"]),
        Route("/api/agreement", pages.agreement),
        Route("/api/matches", pages.matches),
        Route("/tile/{level:int}/{column:int}/{row:int}", pages.tile),
        Route("/crop", pages.crop),
        Route("/{file:str}", pages.static),
    ]
    return Starlette(
        routes=[Mount("/{token}", routes=routes)],
        middleware=[
            Middleware(BaseHTTPMiddleware, dispatch=_guarded(token)),
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
        ],
        exception_handlers={TransectError: _refused},
    )


def _guarded(
    token: str,
) -> Callable[[Request, Callable[[Request], Awaitable[Response]]], Awaitable[Response]]:
    """Refuse every request without the token, and set the headers of every answer."""

    async def dispatch(
        request: Request, go_on: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        given = request.url.path.split("/")[1]
        origin = request.headers.get("origin")
        own = origin in (None, f"http://{request.headers.get('host')}")
        if not (secrets.compare_digest(given.encode(), token.encode()) and own):
            response: Response = Response("not found", 404)
        else:
            response = await go_on(request)
        response.headers.update(HEADERS)
        response.headers.setdefault("cache-control", "no-store")
        return response

    return dispatch


async def _refused(request: Request, error: Exception) -> Response:
    """A sentence for people."""
    return JSONResponse({"error": str(error)}, 400)


class _Pages:
    """What is answered, address by address."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pyramids = Pyramids()

    def static(self, request: Request) -> Response:
        """The page, its script and its style, from the package."""
        name = request.path_params.get("file", "index.html")
        kind = _TYPES.get(Path(name).suffix)
        if kind is None or "/" in name or name.startswith("."):
            raise HTTPException(404)
        file = resources.files("transect.review") / "static" / name
        if not file.is_file():
            raise HTTPException(404)
        return Response(file.read_bytes(), media_type=kind)

    def review(self, request: Request) -> Response:
        """The review as a whole."""
        return JSONResponse(self._session.about())

    def image(self, request: Request) -> Response:
        """One image with its marks."""
        return JSONResponse(self._session.opened(_asked(request, "name")))

    async def do(self, request: Request) -> Response:
        """Carry out one command."""
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise TransectError("a command is sent as application/json.")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise TransectError("the command is too long. Draw shorter strokes.")
        try:
            asked: Any = _json(bytes(body))
        except ValueError as error:
            raise TransectError(f"the command is not JSON ({error}).") from error
        if not isinstance(asked, dict):
            raise TransectError("a command is an object.")
        return JSONResponse(await run_in_threadpool(self._session.do, asked))

    def agreement(self, request: Request) -> Response:
        """How far this person and the others agree."""
        return JSONResponse(self._session.agreements())

    def matches(self, request: Request) -> Response:
        """Lines between two photos of individuals."""
        names = _asked(request, "name"), _asked(request, "other")
        a, b = (
            self._pyramids(self._session.image(name).path).crop(_box(request, key), 640)
            for name, key in zip(names, ("box", "other_box"), strict=True)
        )
        return JSONResponse({"lines": match_lines(a, b)})

    def tile(self, request: Request) -> Response:
        """One tile of an image."""
        pyramid = self._pyramids(self._session.image(_asked(request, "name")).path)
        at = request.path_params
        tile = pyramid.tile(at["level"], at["column"], at["row"])
        # The map stretches what it gets to a whole tile, and clips it at the image's edge.
        down, across = TILE_PX - tile.shape[0], TILE_PX - tile.shape[1]
        return _picture(np.pad(tile, ((0, down), (0, across), (0, 0)), mode="edge"))

    def crop(self, request: Request) -> Response:
        """A part of an image, as small as asked for."""
        try:
            longest = min(max(int(request.query_params.get("longest", "400")), 16), _LARGEST_CROP)
        except ValueError as error:
            raise TransectError("longest must be a number of pixels.") from error
        pyramid = self._pyramids(self._session.image(_asked(request, "name")).path)
        return _picture(pyramid.crop(_box(request, "box"), longest))


def _asked(request: Request, key: str) -> str:
    """A word of the query."""
    value = request.query_params.get(key)
    if value is None:
        raise TransectError(f"{key} is missing from the address.")
    return value


def _box(request: Request, key: str) -> tuple[float, float, float, float] | None:
    """Four numbers of the query, or None."""
    value = request.query_params.get(key)
    if not value:
        return None
    try:
        x0, y0, x1, y1 = (float(number) for number in value.split(","))
    except ValueError as error:
        raise TransectError(f"{key} must be x0,y0,x1,y1.") from error
    if not np.isfinite([x0, y0, x1, y1]).all():
        raise TransectError(f"{key} must be four finite numbers.")
    return x0, y0, x1, y1


def _picture(pixels: NDArray[np.uint8]) -> Response:
    """(h, w, 3) as a JPEG that the browser may keep for the session."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), quality)
    return Response(
        data.tobytes(), media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"}
    )


def _json(body: bytes) -> Any:
    """JSON without the numbers that JSON does not have."""
    import json

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no number")

    return json.loads(body.decode(), parse_constant=refuse)
