"""Benchmarks: one file per kind, each a function from settings to records; `output` prints any of them, `compare` holds two apart."""
