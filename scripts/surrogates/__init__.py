"""Potentials side by side: one protocol, ours and the peers'."""
