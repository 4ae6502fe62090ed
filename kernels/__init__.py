"""Kernels: the collectives and operators a transformer needs, written with the program builder."""
