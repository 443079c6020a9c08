"""The addresses of the service and what stands behind them, with their OpenAPI description."""

from __future__ import annotations

import hmac
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from edgeseg import __version__
from edgeseg.camera.picture_headers import KINDS
from edgeseg.prometheus import CONTENT_TYPE, exposition
from edgeseg.serve.answers import FORMS, Output, Prediction, choose_form
from edgeseg.serve.bodies import Share, read_body, unless_gone
from edgeseg.serve.front import MODEL, Front, Refused, add_refusals
from edgeseg.serve.models import Model
from edgeseg.serve.refusals import Refusal
from edgeseg.serve.sending import HeldResponse
from edgeseg.serve.service import Service

Responses = dict[int | str, dict[str, Any]]
ModelName = Annotated[str, Path(description="One of those that /v1/models names.")]
OutputQuery = Annotated[
    Output | None,
    Query(description="Class ids as a PNG, a picture for people, or numbers; by default as Accept says."),
]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODIES = {kind.media_type: _BINARY for kind in KINDS}
_PICTURES = {form.media_type: _BINARY for form in FORMS if form.output != "json"}
_TEXT = {"text/plain": {"schema": {"type": "string"}}}


class Class(BaseModel):
    """A class of a model."""

    id: int
    name: str
    color: tuple[int, int, int]


class ModelDescription(BaseModel):
    """A model of the service, with the size of its input."""

    name: str
    digest: str
    runtime: str
    precision: str
    height: int
    width: int
    classes: list[Class]


class ModelList(BaseModel):
    """All of them."""

    models: list[ModelDescription]


def make_app(service: Service) -> FastAPI:
    """The ASGI application of a service."""
    app = FastAPI(
        title="edgeseg",
        version=__version__,
        description="Segmentation of pictures by the models of edgeseg bundles.",
        # Their pages would be loaded from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(_health(service))
    app.include_router(_models(service))
    app.include_router(_predictions(service))
    add_refusals(app)
    app.add_middleware(Front, service=service)
    return app


def _health(service: Service) -> APIRouter:
    not_so: Responses = {503: {"content": _TEXT, "description": "It is not, and the text says why."}}
    router = APIRouter(responses={**not_so, **_refusals(403)}, default_response_class=PlainTextResponse)

    @router.get("/live")
    async def live() -> PlainTextResponse:
        """Whether the process works; if not, start it again."""
        hung = service.hung
        return PlainTextResponse("a runtime hangs\n" if hung else "live\n", 503 if hung else 200)

    @router.get("/ready")
    async def ready() -> PlainTextResponse:
        """Whether a picture that came now would be taken."""
        reasons = {"stopping": service.stopping, "a runtime hangs": service.hung, "full": service.pool.full}
        found = [reason for reason, holds in reasons.items() if holds]
        return PlainTextResponse((found or ["ready"])[0] + "\n", 503 if found else 200)

    return router


def _models(service: Service) -> APIRouter:
    router = _guarded(service)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts and times, in the text format of Prometheus."""
        return Response(exposition(service.metrics.collect(service.gauges())), media_type=CONTENT_TYPE)

    @router.get("/v1/models")
    async def models() -> ModelList:
        """The models that there are."""
        return ModelList(models=[_describe(model) for model in service.models.values()])

    @router.get("/v1/models/{name}", responses=_refusals(404))
    async def model(name: ModelName) -> ModelDescription:
        """One of them."""
        return _describe(service.model(name))

    return router


def _predictions(service: Service) -> APIRouter:
    router = _guarded(service)
    good: Responses = {
        200: {"model": Prediction, "content": _PICTURES, "description": "As it was asked for."}
    }

    @router.post(
        "/v1/models/{name}/predict",
        response_class=Response,
        responses={**good, **_refusals(400, 404, 406, 408, 413, 415, 422, 503)},
        openapi_extra={"requestBody": {"required": True, "content": _BODIES}},
    )
    async def predict(name: ModelName, request: Request, output: OutputQuery = None) -> Response:
        """Segment one picture: the file itself is the body, or the one file of a form."""
        request.scope[MODEL] = service.model(name).name
        form = choose_form(output, ",".join(request.headers.getlist("accept")))
        # Who would be turned away is, before all of a picture is taken in.
        service.check_room()
        share = Share(service.held)
        try:
            body = await read_body(request, share, service.limits)
            content_type = request.headers.get("content-type", "")
            answer = await unless_gone(request, service.predict(name, body, content_type, form))
            del body
            share.close()
            share.add(len(answer.body))
        except BaseException:
            share.close()
            raise
        return HeldResponse(answer, share)

    return router


def _guarded(service: Service) -> APIRouter:
    """Addresses that ask for the token, where there is one."""
    if service.token is None:
        return APIRouter(responses=_refusals(403))
    return APIRouter(responses=_refusals(401, 403), dependencies=[Depends(_token_check(service.token))])


def _token_check(token: str) -> Any:
    # Not a plain function: that would be called in a thread.
    async def check(given: Bearer) -> None:
        said = given.credentials if given else ""
        if not hmac.compare_digest(said.encode(), token.encode()):
            raise Refusal(
                401,
                f"Authorization: expected the service's bearer token, found {'another' if said else 'none'}. "
                "Send the header 'Authorization: Bearer TOKEN'.",
                {"WWW-Authenticate": "Bearer"},
            )

    return check


def _refusals(*statuses: int) -> Responses:
    return {status: {"model": Refused} for status in statuses}


def _describe(model: Model) -> ModelDescription:
    segmenter = model.any
    return ModelDescription(
        name=model.name,
        digest=segmenter.bundle.digest,
        runtime=segmenter.runtime_name,
        precision=segmenter.model.precision,
        height=segmenter.height,
        width=segmenter.width,
        classes=[Class(id=c.id, name=c.name, color=c.color) for c in segmenter.labels.classes],
    )
