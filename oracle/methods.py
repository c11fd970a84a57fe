"""The kinds of method. `Method.load(path)` and `Method.from_dict({"kind": ...})` make one."""

from __future__ import annotations

from oracle.ase_method import AseMethod
from oracle.cheap_methods import EmtMethod, LennardJonesMethod
from oracle.gpaw_method import GpawMethod
from oracle.method import Method, Numerics
from oracle.tblite_method import TbliteMethod

__all__ = ["AseMethod", "EmtMethod", "GpawMethod", "LennardJonesMethod", "Method", "Numerics", "TbliteMethod"]

Method.kinds |= {
    "gpaw": GpawMethod,
    "tblite": TbliteMethod,
    "emt": EmtMethod,
    "lj": LennardJonesMethod,
    "ase": AseMethod,
}
