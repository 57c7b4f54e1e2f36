"""What the product is measured against, and how: the product and its peers, on the same data, one after the other."""
