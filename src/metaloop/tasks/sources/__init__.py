"""Where data come from: downloads, archives, pickles, published class splits."""
