"""Notebooks as batch jobs: parameters, provenance, the command line."""
