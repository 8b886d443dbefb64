from __future__ import annotations

import re
import subprocess
import sys

import pytest

from emerit.codec import decode_blob
from emerit.scoring import reasons


def test_codes_are_kebab_case_and_each_has_a_sentence() -> None:
    for code, text in reasons.REASONS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
        assert text[0].isupper() and text.endswith(".") and len(text) < 130


def test_every_code_that_decoding_a_blob_documents_has_a_sentence() -> None:
    documented = set(re.findall(r"`(blob-[a-z-]+)`", decode_blob.__doc__ or ""))
    assert len(documented) > 10
    assert documented <= set(reasons.REASONS)


def test_an_unknown_code_gets_a_sentence_that_names_it() -> None:
    assert "blob-from-the-future" in reasons.sentence("blob-from-the-future")


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        reasons.REASONS["paid"] = "no"  # type: ignore[index]


def test_reasons_and_the_pure_parts_do_not_load_torch() -> None:
    program = (
        "import sys, emerit.scoring.reasons, emerit.scoring.similarity, emerit.scoring.weights, emerit.scoring.vector;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
