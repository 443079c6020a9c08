"""What Streamlit runs for ``edgeseg dashboard``; its one argument is the settings."""

import sys

from edgeseg.dashboard.page import show
from edgeseg.dashboard.parts import Settings

settings = Settings.from_json(sys.argv[1])
show(settings, settings.make_parts())
