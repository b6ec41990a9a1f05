"""Helpers of the LIMA reproduction: data, training, sampling, judging, statistics, figures."""
