"""The pipeline: the jobs of the graph as a CI engine runs them, and what becomes of them. Pure."""
