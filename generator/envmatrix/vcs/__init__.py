"""Version control: the own repository, and source trees of libraries."""
