"""Finding people in a gallery: features of a data set in a file, an index of such files, and search in it."""
