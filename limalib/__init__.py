"""Helpers of the LIMA reproduction, a module an idea. A map, each line knowing those above it:

- plain data: `dialogue`, `responses`, `verdicts`, `settings`, `paper`, `claims`
- numbers: `statistics`, `bias` (order and length), `power`
- data: `sources` (one reader each), `curation` (filters, samplers, duplicates, cards), `miniature`
  (the invented world), `recipes` (which set from what)
- scales: `scales` (settings and places of one scale)
- models: `models`, `packing`, `sharding` (one model over several processes), `training`,
  `distributed` (starts the processes), `planner` (memory and time), `sampling`, `baselines`
- answers from elsewhere: `replies` (kept once), `servers`, `recorded`
- judges: `judging` (grades), `model_judge`, `injection` (answers that speak to a judge), `people`
- choices on dev prompts: `development`, `tuning`
- chapters: `evaluation`, `comparison`, `hypothesis`, `figures`, `browse`
- runs: `atomic` (whole files or none), `provenance`, `parameters`, and `python -m limalib`
"""
