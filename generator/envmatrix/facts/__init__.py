"""Facts about CUDA, systems and architectures, from `data/`; every row names its reference."""
