"""Tables as text: for a terminal, in Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable
from typing import Final

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from zinv.errors import ConfigError, suggest
from zinv.evaluation.table import Cell, Head, Table

SYMBOL: Final = re.compile(r"(?P<letter>[ZWFSP])(?P<index>\d+|_N)?(?P<plus>\+{0,2})(?P<normal>\(P_N\+?\))?")
ESCAPES: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def to_markdown(table: Table) -> str:
    """A Markdown table with its notes as a list.

    >>> print(to_markdown(Table((Head("space"), Head("MSE", "↓")), ((Cell("Z+"), Cell("0.1", bold=True)),))), end="")
    | space | MSE ↓ |
    |:--|--:|
    | Z+ | **0.1** |
    """
    lines = [_bar(_escape_markdown(_head(head)) for head in table.heads)]
    lines.append("|" + "|".join([":--", *["--:"] * (len(table.heads) - 1)]) + "|")
    lines += [_bar(_markdown_cell(cell) for cell in row) for row in table.rows]
    notes = [f"- {_escape_markdown(note)}" for note in table.notes]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def to_csv(table: Table) -> str:
    """Values and half-widths in columns of their own, the notes as comment lines above."""
    halves = [any(row[i].half for row in table.rows) for i in range(len(table.heads))]
    text = io.StringIO()
    text.writelines(f"# {note}\n" for note in table.notes)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        name for head, half in zip(table.heads, halves, strict=True) for name in [head.text, *[f"{head.text} ±"] * half]
    )
    for row in table.rows:
        writer.writerow(x for cell, half in zip(row, halves, strict=True) for x in [cell.text, *[cell.half] * half])
    return text.getvalue()


def to_latex(table: Table) -> str:
    r"""A `tabular` for the booktabs package, with its notes under it.

    >>> to_latex(Table((Head("space"),), ((Cell("F/W+(P_N)", space=True),),))).splitlines()[5]
    '$\\mathcal{F}/\\mathcal{W}^{+}(P_N)$ \\\\'
    """
    lines = [r"% \usepackage{booktabs}", rf"\begin{{tabular}}{{l{'r' * (len(table.heads) - 1)}}}", r"\toprule"]
    lines += [_latex_row(_latex_head(head) for head in table.heads), r"\midrule"]
    lines += [_latex_row(_latex_cell(cell) for cell in row) for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if table.notes:
        lines += [r"\par\smallskip", "{\\footnotesize", *(f"{escape_latex(n)}\\par" for n in table.notes), "}"]
    return "\n".join(lines) + "\n"


def to_rich(table: Table) -> RichTable:
    """A table for the terminal."""
    drawn = RichTable(caption=Text("\n".join(table.notes)) if table.notes else None, caption_justify="left")
    for i, head in enumerate(table.heads):
        drawn.add_column(_head(head), justify="right" if i else "left")
    for row in table.rows:
        drawn.add_row(*(Text(plain_cell(cell), style="bold" if cell.bold else "") for cell in row))
    return drawn


def to_terminal(table: Table, width: int | None = None) -> str:
    """The terminal's table as text."""
    console = Console(file=io.StringIO(), width=width or 160, force_terminal=False)
    with console.capture() as captured:
        console.print(to_rich(table))
    return captured.get()


FORMATS: Final[dict[str, Callable[[Table], str]]] = {
    "terminal": to_terminal,
    "markdown": to_markdown,
    "csv": to_csv,
    "latex": to_latex,
}
ENDINGS: Final = {"markdown": ".md", "csv": ".csv", "latex": ".tex"}


def format_table(table: Table, name: str) -> str:
    """The table in a named format.

    Raises:
        ConfigError: there is no such format.
    """
    if name not in FORMATS:
        raise ConfigError(f"format={name}: there is no such format. {suggest(name, FORMATS)}")
    return FORMATS[name](table)


def space_latex(label: str, escape: Callable[[str], str] | None = None) -> str:
    r"""A label as the paper sets it; words that are no symbols of spaces stay text, escaped for TeX by default.

    >>> space_latex("F/Z+, edited"), space_latex("PTI W+")
    ('$\\mathcal{F}/\\mathcal{Z}^{+}$, edited', 'PTI $\\mathcal{W}^{+}$')
    """
    return " ".join(_word_latex(word, escape or escape_latex) for word in label.split(" "))


def escape_latex(text: str) -> str:
    r"""Text in which no character commands TeX.

    >>> escape_latex("P_N & 95 %")
    'P\\_N \\& 95 \\%'
    """
    return "".join(ESCAPES.get(sign, sign) for sign in text)


def _word_latex(word: str, escape: Callable[[str], str]) -> str:
    bare = word.rstrip(",")
    parts = re.split(r"([/,])", bare)
    symbols = [SYMBOL.fullmatch(part) for part in parts[::2]]
    if not all(symbols):
        return escape(word)
    signs = [_symbol_latex(match) for match in symbols if match]
    return "$" + "".join(a + b for a, b in zip(signs, [*parts[1::2], ""], strict=True)) + "$" + word[len(bare) :]


def _symbol_latex(match: re.Match[str]) -> str:
    letter, index, plus, normal = (match[group] or "" for group in ("letter", "index", "plus", "normal"))
    below = f"_{{{index.lstrip('_')}}}" if index else ""
    above = f"^{{{plus}}}" if plus else ""
    return rf"\mathcal{{{letter}}}{below}{above}" + normal.replace("+", "^{+}")


def _head(head: Head) -> str:
    return f"{head.text} {head.arrow}".strip()


def plain_cell(cell: Cell) -> str:
    """A cell as text.

    >>> plain_cell(Cell("0.1", half="0.02", star=True))
    '0.1 ± 0.02*'
    """
    return cell.text + (f" ± {cell.half}" if cell.half else "") + ("*" if cell.star else "")


def _bar(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    text = _escape_markdown(plain_cell(cell))
    return f"**{text}**" if cell.bold else text


def _escape_markdown(text: str) -> str:
    return re.sub(r"([|*\\`])", r"\\\1", text)


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_head(head: Head) -> str:
    text = space_latex(head.text) if head.space else escape_latex(head.text)
    return f"{text} {escape_latex(head.arrow)}".strip()


def _latex_cell(cell: Cell) -> str:
    if cell.space:
        return space_latex(cell.text)
    text = escape_latex(cell.text)
    text = rf"\textbf{{{text}}}" if cell.bold else text
    return text + (rf" $\pm$ {cell.half}" if cell.half else "") + ("*" if cell.star else "")
