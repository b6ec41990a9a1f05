"""How LIMA's training sets are made from raw sources (section 2).

A source's reader is a generator that counts, by kind, the rows it cannot use, and stops, with one
line that says where, only for a file that is broken as a whole: missing, cut short, or hostile.
"""
