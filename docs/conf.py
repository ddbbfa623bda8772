"""Sphinx: `make docs`."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

project = "django_gatewaypay"
copyright = "django_gatewaypay contributors"
release = re.search(r'__version__ = "(.+)"', (ROOT / "django_gatewaypay" / "__init__.py").read_text())[1]
version = release

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"
html_title = f"django_gatewaypay {release}"
html_static_path = ["_static"]
html_show_sphinx = False
