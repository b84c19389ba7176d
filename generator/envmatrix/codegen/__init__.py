"""Machine code of kernels (SASS), as NVIDIA's `cuobjdump` prints it: read, and compared. Pure."""
