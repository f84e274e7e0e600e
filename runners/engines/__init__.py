"""The engines a pipeline can run on, one file each; `runners/engine.py` chooses among them.

An engine is two functions: `complete(given)` checks the options after `--` and fills in what is missing, before
anything runs; `make_runner(options)` gives Beam the runner. Nothing is ever downloaded but by `jars.py`, on command.
"""
