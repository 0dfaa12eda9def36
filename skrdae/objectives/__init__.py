"""What trainings lower, batch by batch: written with autograd, which compiled kernels are held to."""
