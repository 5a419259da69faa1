"""The house rules as tests.

Each rule is a plain function from a source file to findings; each test file runs one family of rules over the whole
tree and shows, on a bad sample, that every rule of that family fires.  There is no ratchet and no ignore comment: an
exception is a row of a table here, with its reason.
"""
