"""Pictures small enough for a gallery."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from flows.overlay import SMALL_SIDE, smaller


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((960, 720), (SMALL_SIDE, SMALL_SIDE * 3 // 4)),
        ((600, 1200), (SMALL_SIDE // 2, SMALL_SIDE)),
        ((100, 80), (100, 80)),
    ],
)
def test_the_longer_side_is_limited_and_the_shape_kept(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    file = tmp_path / "overlay.jpg"
    cv2.imwrite(str(file), np.full((*size, 3), 120, np.uint8))
    shown = cv2.imdecode(np.frombuffer(smaller(file), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape[:2] == expected
    assert abs(int(shown.mean()) - 120) <= 1
