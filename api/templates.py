"""HTML: templates with escaping on, and headers that let a page load nothing from elsewhere."""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from starlette.responses import HTMLResponse

from api.dashboard.viewer import SignedInViewer
from api.static_files import STATIC_DIGEST

_TEMPLATES: Final = Path(__file__).parent / "dashboard" / "templates"
_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "connect-src": "'self'",
    "font-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
_HEADERS: Final = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    # Not ``no-referrer``: with it a browser sends ``Origin: null`` with our own forms.
    "Referrer-Policy": "same-origin",
}


class _Versioned(Extension):
    """Names static files in templates by the digest of all: browsers keep them until one changes."""

    # Jinja fixes the parameters.
    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        return source.replace('="/static/', f'="/static/{STATIC_DIGEST}/')


_environment = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    extensions=[_Versioned],
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(
    template: str, /, *, viewer: SignedInViewer | None = None, status_code: int = 200, **values: object
) -> HTMLResponse:
    """The page as a response; ``viewer`` None: nobody is signed in, or the page is the same for all."""
    csrf_token = "" if viewer is None else viewer.csrf_token
    html = _environment.get_template(template).render(viewer=viewer, csrf_token=csrf_token, **values)
    return HTMLResponse(html, status_code=status_code, headers=_HEADERS)
