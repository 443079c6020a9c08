"""Bundles: what goes to the car."""

from edgeseg.bundle.manifest import Manifest, ModelFile
from edgeseg.bundle.reader import Bundle, Golden

__all__ = ["Bundle", "Golden", "Manifest", "ModelFile"]
