"""What trainings lower, batch by batch, written with autograd; compiled kernels are held to it."""
