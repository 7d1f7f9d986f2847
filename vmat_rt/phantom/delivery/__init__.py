"""The pencil-beam dose engine: machine, bixels, kernels and their adjoint."""
