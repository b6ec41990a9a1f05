"""One reader per raw source: each a generator over a stream, each yielding plain frozen records.

A reader that finds a row it cannot use counts it, by kind, in the `Counter` it is given and goes
on. It stops, with one line that says where, only when the file as a whole is broken: missing,
cut short, not the format it claims to be, or hostile.
"""
