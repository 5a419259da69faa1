"""A deterministic world for any trio program.  It knows no word of the product."""
