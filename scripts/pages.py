"""Pages of docs/ with parts that scripts write."""

from __future__ import annotations

import re


def filled(page: str, name: str, content: str) -> str:
    """Return the page with the part between `<!-- name -->` and `<!-- /name -->` replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", page)
