"""Sources of data: downloads, archives, pickles, published class splits."""
