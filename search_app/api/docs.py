"""The API's documentation at /docs: Swagger UI from the package `fastapi-swagger`, so it works without internet."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

# The page holds FastAPI's own inline script and loads nothing from other hosts.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)


def add_docs(app: FastAPI) -> None:
    """Serves the page and its assets. Addresses are relative, so that it works under a proxy's path too."""
    assets = Path(str(resources.files("fastapi_swagger.resources")))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url="openapi.json",
            title=app.title,
            swagger_js_url="docs/assets/swagger-ui-bundle.js",
            swagger_css_url="docs/assets/swagger-ui.css",
            swagger_favicon_url="docs/assets/favicon-32x32.png",
            # By default Swagger UI sends the schema's address to a validator on the internet.
            swagger_ui_parameters={"validatorUrl": None},
        )
        page.headers["Content-Security-Policy"] = _POLICY
        return page

    app.mount("/docs/assets", StaticFiles(directory=assets), name="docs-assets")
