# Dimensions of one element come and go: the memory is copied as it is, or shared.
from __future__ import annotations

SHAPES = [(3, 1, 5), (1, 7, 1), (1,), (1, 0, 3), (2, 1, 3, 1), (33, 1, 65), (1, 20011)]
AXES = [{"axis": 1}, {"axis": 0}, {"axis": [0, -1]}, {"axis": None}]
OLD = "only old programs have it"

ROWS = []
