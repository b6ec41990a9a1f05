"""Any causal language model, trained, measured and sampled."""
