"""Notebooks as batch jobs: parameters, provenance."""
