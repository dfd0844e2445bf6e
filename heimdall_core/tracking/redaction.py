"""Keeps secrets out of parameters, tags, logs and error messages."""

import re

MASK = "***"

#: A secret's whatever stands before them: ``PGPASSWORD``.
_STEMS = r"(?:password|passwd|passphrase|secret|credential)s?"
_WORDS = r"pwd|token|api[_.-]?key|access[_.-]?key|private[_.-]?key|authorization|signature|bearer|cookie"
_SECRET_NAME = re.compile(rf"(?:{_STEMS}|(?:^|[^a-z])(?:{_WORDS}))(?:[^a-z]|$)")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: A password may have an @ or a slash in it; ``host:5000/`` is none.
_USERINFO = re.compile(
    r"(?<=://)(?:[^/?#\s'\":@]*:(?!\d{2,5}/)[^?#\s'\"]{0,512}@|[^/?#\s'\"]+@)",
)
_ASSIGNED = re.compile(
    rf"(?i)(?P<name>(?:{_STEMS}(?:\.[\w-]+|[_.-]?key)?|{_WORDS})(?:[_.-]id)?\\*[\"']?\s*[=:]\s*)"
    # a text in escaped quotes, in quotes, a list, a word
    r"(?:(?P<escaped>\\+[\"'])(?:(?!(?P=escaped)).)*|(?P<double>\")(?:[^\"\\\n]|\\.)*"
    r"|(?P<single>')(?:[^'\\\n]|\\.)*|\[[^\]\n]*\]?|[^\s&;,\"'{}]+)"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}")
_API_KEY = re.compile(r"\bhmd_[A-Za-z0-9_-]{8,}")


def is_secret_name(name: str) -> bool:
    """Whether such a name is a secret's: ``db.password``, ``apiKey``, ``S3_SECRET_ACCESS_KEY``."""
    return _SECRET_NAME.search(_CAMEL.sub("_", name).lower()) is not None


def redact(text: str) -> str:
    """The text without users and passwords of URLs, values of secret names, and keys."""
    text = _USERINFO.sub(f"{MASK}@", text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _ASSIGNED.sub(_masked, text)
    return _API_KEY.sub(MASK, text)


def _masked(found: re.Match[str]) -> str:
    quote = found["escaped"] or found["double"] or found["single"] or ""
    return f"{found['name']}{quote}{MASK}"
