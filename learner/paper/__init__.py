"""The networks of the VIMPNN paper (2019): baseline, MPNN, VIMPNN and its variants, with auxiliary readouts."""
