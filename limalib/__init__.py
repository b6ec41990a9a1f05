"""Helpers of the LIMA reproduction. A map, each line knowing those above it:

- plain data: `records` (dialogues, responses, grades, verdicts), `settings`, `paper`, `claims`
- numbers and pictures: `statistics`, `figures`
- rooms that do not know each other: `data` (raw files to sets), `training` (any causal model),
  `judging` (oracle, language model, people)
- `scales` (settings and places of one scale)
- chapters: `evaluation`, `comparison`, and `chapter`, which takes their place
- `running` (parameters, provenance), and `python -m limalib`
"""
