"""Programs run by hand while developing; tests hold their results."""
