"""A fuzzer: no input may kill the process, hang it, be answered wrongly, or leave something half-done.

python -m tests.fuzz --seconds 600 [--seed 0] [--only calls,files], from the root of the repository. Parts:

calls      every public callable, by its stub or its signature, with plausible and with hostile arguments
programs   random programs on Tensors: weft beside PyTorch, and eager beside captured
files      damaged files of every format that is read
kills      SIGKILL, full disks, vanishing folders and concurrent writers while a checkpoint is written
processes  forks, signals, threads and limits while kernels run

An input is a function of (seed, part, index) alone. A finding is printed with these and with the least input that still
shows it, as lines of Python that run by themselves.
"""
