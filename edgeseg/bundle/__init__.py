"""Bundles: what goes to the car."""

from edgeseg.bundle.golden import Golden
from edgeseg.bundle.manifest import Manifest, ModelFile
from edgeseg.bundle.reader import Bundle

__all__ = ["Bundle", "Golden", "Manifest", "ModelFile"]
