"""The gamma index, on processors and on CUDA."""
