import csv
import io
import re
import shutil
import subprocess

import pytest

from zinv.errors import ConfigError
from zinv.evaluation.formats import format_table, space_latex
from zinv.evaluation.table import Cell, Head, Table, make_table

HARD = Table(
    (Head("space"), Head("a_b & 5 %", "↑"), Head("W+(P_N)", space=True)),
    ((Cell("F/W+(P_N)", space=True), Cell("1.0", "0.1", bold=True, star=True), Cell("#$^~\\{}_|<>–")),),
    ("100 % of {it} & more ± ↓ × *", "second"),
)


def test_markdown_has_a_line_a_row(rows):
    lines = format_table(make_table(rows), "markdown").splitlines()
    assert lines[0].startswith("| space | MSE ↓ | LPIPS ↓ | ID ↑ | n |")
    assert lines[2].startswith("| F/Z+ | **0.0") and " ± " in lines[2]
    assert lines[3].count("*") == 3 * 4 + 1  # three bold cells, one starred
    assert "- protocol paper d1d1d1d1: RGB in [-1, 1], 8-bit & all." in lines
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in format_table(HARD, "markdown").splitlines()[:3]}) == 1


def test_csv_gives_half_widths_columns_of_their_own(rows):
    text = format_table(make_table(rows), "csv")
    assert text.startswith("# protocol paper")
    lines = list(csv.reader(line for line in io.StringIO(text) if not line.startswith("#")))
    assert lines[0][:4] == ["space", "MSE", "MSE ±", "LPIPS"] and len({len(line) for line in lines}) == 1
    assert float(lines[1][1]) > 0 and float(lines[1][2]) > 0


def test_the_terminal_shows_every_cell(rows):
    text = format_table(make_table(rows), "terminal")
    for word in ("F/Z+", "F/W+(P_N)", "MSE ↓", "±", "protocol paper", "1,200"):
        assert word in text


@pytest.mark.parametrize(
    ("label", "latex"),
    [
        ("Z", r"$\mathcal{Z}$"),
        ("F/Z+", r"$\mathcal{F}/\mathcal{Z}^{+}$"),
        ("W+(P_N)", r"$\mathcal{W}^{+}(P_N)$"),
        ("P_N+", r"$\mathcal{P}_{N}^{+}$"),
        ("W+,F4,F16", r"$\mathcal{W}^{+},\mathcal{F}_{4},\mathcal{F}_{16}$"),
        ("SAM F/Z+", r"SAM $\mathcal{F}/\mathcal{Z}^{+}$"),
        ("IDInvert", "IDInvert"),
        ("my_space 50 %", r"my\_space 50 \%"),
    ],
)
def test_labels_as_the_paper_sets_them(label, latex):
    assert space_latex(label) == latex


def without_commands(text):
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    body = re.sub(r"\$[^$]*\$", "", re.sub(r"\\[&%$#_{}]", "", body))
    return re.sub(r"\\[a-zA-Z]+|\\\\", "", body)


def test_latex_is_balanced_and_escaped(rows):
    for table in (HARD, make_table(rows)):
        text = format_table(table, "latex")
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        body = without_commands(text)
        assert not set(body) & set("%$#_^~\\") and body.isascii()
        ampersands = [line.count("&") - line.count(r"\&") for line in text.splitlines() if line.endswith(r"\\")]
        assert ampersands == [len(table.heads) - 1] * (len(table.rows) + 1)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(rows, tmp_path):
    body = format_table(HARD, "latex") + "\n\n" + format_table(make_table(rows), "latex")
    page = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-500:]


def test_unknown_formats_name_the_nearest():
    with pytest.raises(ConfigError, match="format=latx: there is no such format. Did you mean 'latex'?"):
        format_table(HARD, "latx")
