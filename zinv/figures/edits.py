"""Edits for figures: which columns they are drawn from, and the edited pictures that were kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from torch import Tensor

from zinv.errors import ProtocolError, suggest
from zinv.evaluation.edits import EditInfo, picture_path
from zinv.images import read_image

CHANGE: Final = ("judge_change", "attribute_change", "w_change")
"""What an edit achieved, as far as it was measured: by the network that fitted nothing, by the one that did, in W."""


def column(frame: pd.DataFrame, asked: str) -> str:
    """A column of an edits file.

    Raises:
        ProtocolError: there is none.
    """
    if asked not in frame.columns:
        raise ProtocolError(f"edits.csv has no column {asked}. {suggest(asked, frame.columns)}")
    return asked


def edited_picture(folder: Path, edits: EditInfo, image: str, direction: str, strength: float) -> Tensor | None:
    """An edited picture `(3, R, R)` in [-1, 1] of a run folder, if it was kept (`direction.keep`)."""
    path = picture_path(folder, edits, image, direction, strength)
    return read_image(path) if path.is_file() else None


def at(frame: pd.DataFrame, image: str, direction: str, strength: float) -> pd.Series | None:
    """The row of one edit that has a result."""
    here = (frame["image"] == image) & (frame["direction"] == direction) & np.isclose(frame["strength"], strength)
    rows = frame[here & (frame["status"] == "ok")]
    return rows.iloc[0] if len(rows) else None
