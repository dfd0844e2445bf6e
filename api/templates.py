"""HTML: templates with escaping on, and headers that let a page load nothing from elsewhere."""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

DASHBOARD_DIR: Final = Path(__file__).parent / "dashboard"
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
_environment = Environment(
    loader=FileSystemLoader(DASHBOARD_DIR / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(template: str, /, *, status_code: int = 200, **values: object) -> HTMLResponse:
    """The page as a response."""
    html = _environment.get_template(template).render(**values)
    return HTMLResponse(html, status_code=status_code, headers=_HEADERS)
