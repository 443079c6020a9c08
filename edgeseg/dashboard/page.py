"""The page: its three sheets, and how an error becomes one message on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st
from PIL.Image import Image, fromarray

from edgeseg.dashboard.markup import STYLE, plain
from edgeseg.dashboard.page_compare import show_compare
from edgeseg.dashboard.page_results import show_results
from edgeseg.dashboard.page_runs import show_runs
from edgeseg.dashboard.parts import Parts, Settings
from edgeseg.errors import EdgesegError

Sheet = Callable[[Settings, Parts], None]


def show(settings: Settings, parts: Parts) -> None:
    """Draw the sheet that is chosen. Streamlit calls this anew after everything the user does."""
    st.set_page_config("edgeseg", page_icon=_icon(), layout="wide")
    st.html(STYLE)
    sheets = [
        st.Page(
            guarded(show_compare, settings, parts), title="Compare", icon=":material/compare:", default=True
        ),
        st.Page(
            guarded(show_runs, settings, parts), title="Runs", icon=":material/show_chart:", url_path="runs"
        ),
        st.Page(
            guarded(show_results, settings, parts),
            title="Accuracy and latency",
            icon=":material/speed:",
            url_path="results",
        ),
    ]
    st.navigation(sheets).run()


def _icon() -> Image:
    """Drawn here: a name of one of Streamlit's icons would be fetched from the web."""
    bands = np.array([(70, 130, 180), (107, 142, 35), (128, 64, 128)], np.uint8)
    return fromarray(np.repeat(np.repeat(bands[:, np.newaxis], 16, axis=0), 48, axis=1))


def guarded(sheet: Sheet, settings: Settings, parts: Parts) -> Callable[[], None]:
    """The sheet, whose errors are a message in its place."""

    def draw() -> None:
        try:
            sheet(settings, parts)
        except EdgesegError as error:
            st.error(plain(str(error)), icon=":material/error:")

    return draw
