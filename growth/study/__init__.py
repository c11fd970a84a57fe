"""`kossel study`: what grew, and the energy landscape that it grew on. One question a module; `command.py` asks them."""
