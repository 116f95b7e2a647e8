"""A simulated container engine on a Unix socket, for quick tests and for machines without a real one.

It speaks the part of the Docker Engine API (shape of version 1.41) that the supervisor uses and keeps everything in
memory. Answers, statuses and error texts are those of Docker Engine 20.10; ``tests/engine_sim/test_parity.py``
sends the same calls to both and compares.
"""

from tests.fakes.engine.faults import Call
from tests.fakes.engine.simulated import SimulatedEngine

__all__ = ["Call", "SimulatedEngine"]
