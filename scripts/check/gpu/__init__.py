"""The parts of test_gpu.py. Each is a function that returns a plain dict; none needs any package."""
