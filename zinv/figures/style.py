"""How figures look, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from zinv.evaluation.files import replace_text
from zinv.evaluation.formats import space_latex

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito (2008): told apart with any colour vision."""
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
WIDTH: Final = 6.875  # inches: two columns of a conference page
GREY: Final = "#666666"
STYLE: Final = {
    "pdf.fonttype": 42,  # whole TrueType fonts: publishers refuse type 3
    "ps.fonttype": 42,
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "savefig.dpi": 200,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.03,
}


@dataclass(frozen=True)
class Drawing:
    """A figure, ready to be written.

    Attributes:
        name: of its files.
        figure: what is drawn.
        caption: what it shows, of how many images, and by which rule they were picked.
        notes: what is missing, which is printed under the figure too.
        supplement: pages with the full set.
    """

    name: str
    figure: Figure
    caption: str
    notes: tuple[str, ...] = ()
    supplement: Sequence[Figure] = field(default_factory=tuple)

    def write(self, folder: Path) -> list[Path]:
        """Write `NAME.pdf`, `NAME.png`, `NAME.txt` (the caption) and `NAME-all.pdf`; returns those that there are."""
        folder.mkdir(parents=True, exist_ok=True)
        caption = " ".join([self.caption, *self.notes])
        pdf, png, text, whole = (folder / f"{self.name}{end}" for end in (".pdf", ".png", ".txt", "-all.pdf"))
        with paper_style():
            self.figure.savefig(pdf, metadata={"Subject": caption, "CreationDate": None})
            self.figure.savefig(png, metadata={"Description": caption})
            if self.supplement:
                with PdfPages(whole, metadata={"Subject": caption, "CreationDate": None}) as pages:
                    for page in self.supplement:
                        pages.savefig(page)
        replace_text(text, caption + "\n")
        return [pdf, png, text, *([whole] if self.supplement else [])]


def paper_style() -> AbstractContextManager[None]:
    """Draw like a paper inside it."""
    return mpl.rc_context(STYLE)  # type: ignore[arg-type]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches."""
    return Figure(figsize=(width, height))


def under(figure: Figure, notes: Sequence[str]) -> None:
    """Print notes in small type at the bottom, on lines of their own below everything."""
    if notes:
        figure.text(0.01, -0.01, "\n".join(notes), fontsize=7, color=GREY, va="top", ha="left")


def math(label: str) -> str:
    r"""A row's label in the paper's notation.

    >>> math("F/Z+"), math("F_alone 5 %")
    ('$\\mathcal{F}/\\mathcal{Z}^{+}$', 'F_alone 5 %')
    """
    return space_latex(label, lambda text: text.replace("$", r"\$"))


def colour(place: int) -> str:
    """Colour of the row at a place."""
    return COLOURS[place % len(COLOURS)]


def marker(place: int) -> str:
    """Marker of the row at a place."""
    return MARKERS[place % len(MARKERS)]
