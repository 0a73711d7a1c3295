"""Benchmarks: weft beside its peers, in one process, interleaved.

`python -m bench --help` tells how to run them; docs/measuring.md how the numbers are made.
"""
