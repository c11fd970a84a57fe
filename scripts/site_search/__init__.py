"""Parts of scripts/benchmark_sites.py: an adatom on a rigid substrate, the structures, the dense reference."""
