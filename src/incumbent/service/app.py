"""The FastAPI application behind the shim: every route that is not hot, and the one shape of errors for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route as StarletteRoute

from incumbent import __version__
from incumbent.errors import DataError, IncumbentError, NotFoundError, UnavailableError
from incumbent.service import docs_page, openapi
from incumbent.service.asgi import App, Message, Receive, Send


class MethodError(DataError):
    """The path exists, the method does not."""

    code, status = "method", 405


def build(routers: Iterable[APIRouter], hot: Mapping[str, App] | None = None, *, docs: bool = True) -> FastAPI:
    """An application of these routers, with the hot routes declared: `hot` holds those that this process serves."""
    app = FastAPI(title="incumbent", version=__version__, openapi_url="/openapi.json" if docs else None,
                  docs_url=None, redoc_url=None)
    for path in ("/v1/recommendations", "/v1/events", "/v1/exclusions"):
        app.router.routes.append(StarletteRoute(path, _Hot(path, (hot or {}).get(path)), methods=["POST"]))
    for router in routers:
        app.include_router(router)
    if docs:
        app.add_api_route("/docs", lambda: HTMLResponse(docs_page.render(openapi.document(app)), headers={
            "content-security-policy": docs_page.POLICY}), include_in_schema=False)
    app.add_exception_handler(IncumbentError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app


class _Hot:
    """A hot route as ASGI (an object, because Starlette takes a function for a handler of requests)."""

    def __init__(self, path: str, served: App | None) -> None:
        self._path, self._served = path, served

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._served is None:
            raise UnavailableError("this process does not serve the route", got=self._path,
                                   hint="ask the gateway or the collector")
        await self._served(scope, receive, send)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, IncumbentError)
    return JSONResponse(error.to_dict(), status_code=error.status)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        found = DataError("body is not JSON", expected="one JSON object", hint=str(first.get("ctx", {}).get("error")))
        return JSONResponse(found.to_dict(), status_code=found.status)
    field = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path")) or None
    what = first["msg"][:1].lower() + first["msg"][1:]
    found = DataError(what, field=field, **({} if first["type"] == "missing" else {"got": first.get("input")}))
    return JSONResponse(found.to_dict(), status_code=found.status)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        found: IncumbentError = NotFoundError("no such path", got=request.url.path, hint="GET /docs lists them")
    elif error.status_code == 405:
        found = MethodError("the path does not take this method", got=f"{request.method} {request.url.path}")
    elif error.status_code == 400:  # a body that is not even text
        found = DataError("body is not JSON", expected="one JSON object", hint=str(error.detail))
    else:
        return JSONResponse(IncumbentError(str(error.detail)).to_dict(), status_code=error.status_code)
    return JSONResponse(found.to_dict(), status_code=found.status, headers=dict(error.headers or {}))
