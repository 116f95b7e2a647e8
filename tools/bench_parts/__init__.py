"""The parts of ``tools/bench``: what is measured is the supervisor beside the engine's own limit."""
