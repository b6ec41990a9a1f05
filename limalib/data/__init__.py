"""How LIMA's training sets are made from raw sources (section 2).

One module a source, with its reader and the paper's choice from it: `stackexchange` (over `dump`,
its XML; `pairs` and `chains` choose, `exchanges` keeps what they found), `wikihow`, `reddit`,
`superni`, `instructions`. A reader is a generator over a stream. One that finds a row it cannot use
counts it, by kind, in the `Counter` it is given and goes on; it stops, with one line that says
where, only when the file as a whole is broken: missing, cut short, another format, or hostile.

`files`, `markup`, `text` and `sampling` serve them; `duplicates` finds repeats and leaks; `recipes`
makes the sets, and `cards` says what is in them.
"""
