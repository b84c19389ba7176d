"""Problems of a host that prevent building images, and their repair."""
