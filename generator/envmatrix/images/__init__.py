"""Definitions of images: environments, stages, CUDA layers, Dockerfiles, fingerprints."""
