"""What an image is made of, and whether one that exists still is."""
