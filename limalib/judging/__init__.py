"""Who says how good an answer is: the oracle, a language model, people."""
