"""`kossel study`: what grew, and the energy landscape it grew on. One question a module; `command.py` asks them."""
