"""Scores for READMEs and papers: the names that come out are the names that went in, whatever is in them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from preimage.harness.verbs.score_tables import latex, latex_table, markdown_table
from preimage.harness.verbs.scoring import number, printable

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b \\| c\\",
    "[x](javascript:alert(1))",
    "*bold* _em_ __strong__ `code` ~~gone~~",
    "&lt; &amp;",
    "\\input{/etc/passwd} $x$ %comment #1 ^2 ~ {}",
    "\\end{tabular}",
    "[1ex] *",
    "---``quoted''",
    'say "x"\n\n| new | row |\r\n',
    "esc \x1b[31m red \x00 \u202e over",
    "naïve-ß 模型",
)
NAMES = ("dataset", "benchmark", "suite", "model", "metric")


def row(name: str, **other: Any) -> dict[str, Any]:
    scored = {"value": 0.25, "low": -0.5, "high": 4.636e-05, "n": 12, "unit": "share", "status": "ok", "reason": ""}
    return dict.fromkeys(NAMES, name) | scored | other


def refused(name: str) -> dict[str, Any]:
    return row(name, status="refused", reason=name, value=None, low=None, high=None, n=0)


def markdown_cells(text: str) -> list[list[str]]:
    """The table's cells as a reader of Markdown sees them: text only."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    assert [token.type for token in tokens if token.level == 0] == ["table_open", "table_close"]
    cells: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            cells.append([])
        if token.type == "inline":
            kinds = {child.type for child in token.children or ()}
            assert kinds <= {"text", "text_special"}, (token.content, kinds)
            cells[-1].append("".join(child.content for child in token.children or ()))
    return cells


SIGNS = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"{\textquotedbl}": '"',
    r"\textasciigrave{}": "`",
    r"\textquotesingle{}": "'",
    "{[}": "[",
    "{*}": "*",
    "{}": "",
    **{f"\\{c}": c for c in "&%$#_{}"},
}
TOKEN = re.compile("|".join(map(re.escape, SIGNS)) + r"|[^\\{}$&#^_~%\[*]", re.DOTALL)


def typeset(text: str) -> str:
    """What LaTeX prints: every sign must be one of these, or a letter that means itself."""
    printed, place = "", 0
    while place < len(text):
        token = TOKEN.match(text, place)
        assert token, text[place:]
        printed += SIGNS.get(token[0], token[0])
        place = token.end()
    assert not re.search("--|,,|``|''", text)
    return printed


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_names_as_they_are(name: str) -> None:
    head, *rows = markdown_cells(markdown_table([row(name), refused(name)]))
    said = printable(name)
    assert head == [*NAMES, "value", "95 % interval", "n"]
    assert rows == [[said] * 5 + ["0.25", "[-0.5, 4.636e-05]", "12"], [said] * 5 + ["refused", said, ""]]


@given(st.text(max_size=30))
@settings(deadline=None)
def test_any_text_is_a_cell_of_markdown(name: str) -> None:
    _, cells = markdown_cells(markdown_table([row(name)]))
    assert cells[:5] == [printable(name)] * 5


@pytest.mark.parametrize("name", HOSTILE)
def test_latex_prints_names_as_they_are(name: str) -> None:
    assert typeset(latex(name)) == printable(name)


@given(st.text(max_size=30))
@settings(deadline=None)
def test_any_text_is_printed_by_latex(name: str) -> None:
    assert typeset(latex(name)) == printable(name)


def test_a_table_of_booktabs() -> None:
    lines = latex_table(
        [row("a_b"), row("[1ex]", value=-12345.6, low=None, high=None), refused("50%\n\\end")]
    ).splitlines()
    assert lines[1:5] == [
        r"\begin{tabular}{lllllrrr}",
        r"\toprule",
        r"dataset & benchmark & suite & model & metric & value & 95\,\% interval & n \\",
        r"\midrule",
    ]
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    name = r"a\_b"
    assert lines[5] == f"{name} & " * 5 + r"$0.25$ & {[}$-0.5$, $4.636 \times 10^{-5}$] & 12 \\"
    assert lines[6] == "{[}1ex] & " * 5 + r"$-12346$ &  & 12 \\"
    assert lines[7:9] == [r"% refused: 50% \end", r"50\% \textbackslash{}end & " * 5 + r"refused &  &  \\"]


def test_rows_of_latex_have_eight_cells() -> None:
    table = latex_table([cells for name in HOSTILE for cells in (row(name), refused(name))])
    rows = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2 * len(HOSTILE) + 1
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {7}
    assert all(line.startswith(("%", "\\")) or line in rows for line in table.splitlines())


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.0, "0"), (0.123456, "0.1235"), (4.6361e-05, "4.636e-05"), (9999.4, "9999"), (9999.7, "10000"),
     (-12345.6, "-12346"), (1.23456e12, "1.235e+12"), (1.0, "1")],
)  # fmt: skip
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_what_would_do_something_to_a_terminal_is_left_out() -> None:
    assert printable(HOSTILE[10]) == "esc [31m red over"
    assert printable("a\u2028b\tc") == "a b c"
