import numpy as np
import pandas as pd
import pytest

from zinv.evaluation.records import Header, MetricInfo, ProtocolInfo
from zinv.evaluation.rows import Row

PROTOCOL = ProtocolInfo(
    "paper",
    "protocol paper d1d1d1d1: RGB in [-1, 1], 8-bit & all.",
    "d1" * 32,
    (
        MetricInfo("mse", "MSE", False, digits=5),
        MetricInfo("lpips", "LPIPS", False, "vgg"),
        MetricInfo("id", "ID", True),
    ),
)


def table_row(label, mse, protocol=PROTOCOL, code="c0dec0de", images=None, **settings):
    """A row of made-up records: `mse` image by image; other metrics follow from it."""
    mse = np.asarray(mse, dtype=float)
    images = images or [f"i{k}" for k in range(len(mse))]
    frame = pd.DataFrame({"image": images, "status": "ok", "target": [f"t{name}" for name in images], "code": code})
    frame = frame.assign(mse=mse, lpips=2 * mse, id=1 - mse, note="", reason="")
    known = {
        "label": label,
        "method": "BDInvert",
        "space": label,
        "precision": "float32",
        "num_steps": 1200,
        **settings,
    }
    header = Header(f"slug/{abs(hash(label)) % 16**8:08x}", "abc", {code: len(mse)}, known, protocol, len(mse))
    return Row(header, frame)


@pytest.fixture
def rows():
    """Three rows: the second is the best, the first cannot be told from it, the third is far off."""
    rng = np.random.default_rng(0)
    base = rng.gamma(2.0, 0.01, 30)
    return [
        table_row("F/Z+", base + rng.normal(0.0002, 0.002, 30)),
        table_row("F/W+(P_N)", base, loss_networks=["vgg"]),
        table_row("Z", base + rng.normal(0.1, 0.02, 30)),
    ]
