"""The checker of types and shapes that pytest puts around every function of ours (see pyproject.toml)."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a good float, as for mypy
