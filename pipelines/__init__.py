"""Beam pipelines: descriptors move, heavy data stays in files; logic lives in plain functions."""
