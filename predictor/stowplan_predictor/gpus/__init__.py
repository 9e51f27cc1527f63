"""GPUs: from kernels to time on a whole GPU, a MIG instance, an MPS share or a time slice; and what tenants of one GPU do to each other."""
