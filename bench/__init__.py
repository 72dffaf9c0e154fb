"""How fast this product is, beside peers, in one run on one machine. See bench/README.md."""
