"""The libraries that weft is measured against, and the same networks in them. Nothing is imported here: PyTorch and JAX
take their time, and a process that measures one of them must not hold the other."""
