"""The sidebar's choice of an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from edgeseg.dashboard.images import (
    MAX_UPLOAD_MB,
    FolderImages,
    Picture,
    SplitImages,
    read_upload,
    shared_start,
)
from edgeseg.dashboard.parts import LabelledData, Parts, Settings

_FOLDER, _UPLOAD = "folder", "upload"


@dataclass(frozen=True)
class Chosen:
    """What is looked at: a picture, and the split that it is of, where it is of one."""

    picture: Picture
    split: SplitImages | None = None
    split_name: str = ""

    def look_at(self, name: str) -> None:
        """Choose another image of the split; for a widget's callback."""
        st.session_state[_key(self.split_name)] = name


def choose_picture(settings: Settings, parts: Parts) -> Chosen | None:
    """The picture that is chosen; ``None`` where nothing is uploaded yet.

    Raises:
        EdgesegError: The dataset, the folder or the image cannot be read.
    """
    data = _data(settings.data, parts) if settings.data else None
    splits = [name for name, items in data.splits.items() if items] if data else []
    sources = [*splits, *([_FOLDER] if settings.images else []), _UPLOAD]
    source = st.sidebar.segmented_control(
        "Images", sources, default="val" if "val" in sources else sources[0], required=True
    )
    if source == _UPLOAD and source not in splits:
        return _uploaded()
    if data is not None and source in splits:
        split = SplitImages(data, source)
        return Chosen(split.read(_choose_name(split.names, source)), split, source)
    folder = FolderImages(Path(settings.images or ""))
    return Chosen(folder.read(_choose_name(folder.names, source)))


@st.cache_resource(show_spinner="Opening the dataset…")
def _data(spec: str, _parts: Parts) -> LabelledData:
    return _parts.open_data(spec)


def _uploaded() -> Chosen | None:
    file = st.sidebar.file_uploader(
        "An image", type=["png", "jpg", "jpeg", "bmp", "webp"], max_upload_size=MAX_UPLOAD_MB
    )
    return Chosen(read_upload(file.name, file.getvalue())) if file else None


def _choose_name(names: list[str], source: str) -> str:
    """By its name, or one on."""
    key = _key(source)
    if st.session_state.get(key) not in names:
        st.session_state[key] = names[0]

    def step(by: int) -> None:
        st.session_state[key] = names[(names.index(st.session_state[key]) + by) % len(names)]

    back, on = st.sidebar.columns(2)
    back.button("Previous", icon=":material/chevron_left:", on_click=step, args=(-1,), width="stretch")
    on.button("Next", icon=":material/chevron_right:", on_click=step, args=(1,), width="stretch")
    shared = len(shared_start(names))
    chosen: str = st.sidebar.selectbox(
        f"Image, of {len(names)}", names, key=key, format_func=lambda name: name[shared:]
    )
    return chosen


def _key(source: str) -> str:
    return f"image of {source}"
