"""Jobs: what there is to do for many cells, in which order, and with which resources. Pure."""
