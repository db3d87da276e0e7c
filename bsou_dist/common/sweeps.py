"""The six blind sweeps, which every room that knows about clips calls by the same names."""

SWEEPS: tuple[str, ...] = ("M", "L", "R", "C1", "C2", "C3")
"""Canonical sweeps, in the order of an exam's six slots.

`M`, `L` and `R` run from pubis to fundus (middle, maternal left, maternal right); `C1`, `C2` and
`C3` from maternal left to right, at rising heights.
"""
