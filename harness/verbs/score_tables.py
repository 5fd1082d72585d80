"""Scores as tables for a README and for a paper. Names are anybody's text: each is inert in both."""

from __future__ import annotations

import re
from collections.abc import Sequence

from preimage.harness.verbs.scoring import Row, interval, number, printable

_NAMES = ("dataset", "benchmark", "suite", "model", "metric")
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown or HTML would take for a sign; an underscore within a word is none."""
_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\textquotedbl}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "[": "{[}",  # after the end of a row it would begin an option
    "*": "{*}",
}


def markdown_table(rows: Sequence[Row]) -> str:
    """A table of GitHub's Markdown; what was not scored has its status and reason in it."""

    def cell(text: str) -> str:
        return _MARKDOWN.sub(lambda sign: f"\\{sign[0]}", printable(text))

    lines = [[*_NAMES, "value", "95 % interval", "n"], ["---"] * len(_NAMES) + ["---:"] * 3]
    for row in rows:
        names = [cell(str(row[name])) for name in _NAMES]
        if row["status"] == "ok":
            lines.append([*names, number(row["value"]), interval(row), str(row["n"])])
        else:
            lines.append([*names, cell(row["status"]), cell(row["reason"]), ""])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def latex_table(rows: Sequence[Row]) -> str:
    """A table of the package booktabs; why something was not scored is a comment above its row."""
    head = [*_NAMES, "value", r"95\,\% interval", "n"]
    lines = [
        r"% \usepackage{booktabs,textcomp} \usepackage[T1]{fontenc}; names beyond Latin need lualatex or xelatex",
        r"\begin{tabular}{lllllrrr}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        cells = [latex(str(row[name])) for name in _NAMES]
        if row["status"] == "ok":
            bounds = "" if row["low"] is None else f"{{[}}{_formula(row['low'])}, {_formula(row['high'])}]"
            cells += [_formula(row["value"]), bounds, str(row["n"])]
        else:
            lines.append(f"% {printable(row['status'])}: {printable(row['reason'])}")
            cells += [latex(row["status"]), "", ""]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def latex(text: str) -> str:
    """Any text, as LaTeX that prints it."""
    escaped = "".join(_LATEX.get(c, c) for c in printable(text))
    return re.sub("([-,])(?=[-,])", r"\1{}", escaped)  # two hyphens or commas would become one sign


def _formula(value: float) -> str:
    """A number with a minus sign and powers of ten as they are printed."""
    digits, _, power = number(value).partition("e")
    return f"${digits}$" if not power else rf"${digits} \times 10^{{{int(power)}}}$"
