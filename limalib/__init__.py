"""Helpers of the LIMA reproduction. A map, each line knowing those above it:

- plain data: `records` (dialogues, responses, grades, verdicts), `settings`, `paper`
- numbers: `statistics` (intervals, agreement), `significance` (tests and their power)
- `claims` (each a test fixed in advance), `figures` (one function each)
- rooms that do not know each other: `data` (raw files to sets), `training` (any causal model),
  `judging` (oracle, language model, people)
- `running`: papermill, parameters, provenance; the command line is `python -m limalib`
- `scales`: the settings of one scale; `places`: where its files lie; `names`: what readers say
- `chapter`: what a notebook holds; `teachers`: what the sources of its training sets are worth
- `play`: for explorers, who ask the models and train their own
- beside all this, the `miniature`: an invented world, whose facts an exact judge knows
"""
