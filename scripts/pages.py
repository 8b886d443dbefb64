"""Pages of docs/ with parts that scripts write."""

from __future__ import annotations

import re


def filled(page: str, name: str, content: str) -> str:
    """Return the page with the part between `<!-- name -->` and `<!-- /name -->` replaced; ends where there is none."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    page, count = pattern.subn(lambda match: f"{match[1]}{content}\n{match[2]}", page)
    if not count:
        raise SystemExit(f"The page has no part between <!-- {name} --> and <!-- /{name} -->.")
    return page
