"""What a library derives from pandas: frames and series that keep more than a table (as geopandas does)."""

from __future__ import annotations

from typing import Any

import pandas as pd


class Measured(pd.Series):
    _metadata = ["unit"]

    @property
    def _constructor(self) -> Any:
        return Measured


class Survey(pd.DataFrame):
    """``_metadata`` travels with copies; ``log`` is beside the table and does not."""

    _metadata = ["origin", "_sites"]

    def __init__(self, *args: Any, origin: str = "", sites: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        object.__setattr__(self, "origin", origin)
        object.__setattr__(self, "_sites", sites)

    @property
    def _constructor(self) -> Any:
        def made(*args: Any, **kwargs: Any) -> Any:
            frame = pd.DataFrame(*args, **kwargs)
            return Survey(frame) if "value" in frame.columns else frame

        return made

    @property
    def _constructor_sliced(self) -> Any:
        return Measured

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "sites":
            object.__setattr__(self, "_sites", value)
        else:
            super().__setattr__(name, value)

    def add(self, value: float) -> None:
        """Grow in place."""
        self.loc[len(self)] = value
