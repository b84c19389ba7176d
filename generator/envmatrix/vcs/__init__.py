"""Version control: the own repository, and source trees of libraries, unpacked or checked out."""
