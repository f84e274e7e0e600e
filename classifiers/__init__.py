"""Signals, one file each, and the residence model: pure functions over Arrow batches, no Beam."""
