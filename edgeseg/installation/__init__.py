"""Bundles on a vehicle: versions side by side, one of them active, one to go back to."""

from edgeseg.installation.install import Installed, install_bundle, roll_back
from edgeseg.installation.moment import parse_moment

__all__ = ["Installed", "install_bundle", "parse_moment", "roll_back"]
