"""A run as one page to look at: a template, a script and a style, filled with a chronicle.  Nothing is loaded."""
