"""The miniature: an invented world whose every fact is known, and an exact judge for it."""
