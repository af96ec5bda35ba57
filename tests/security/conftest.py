# Licensed under the Apache License, Version 2.0. See LICENSE.
from __future__ import annotations

from tests.legs import bench, emu

__all__ = ["bench", "emu"]
