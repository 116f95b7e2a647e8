"""The agent on an IoT device that makes its containers match a target state."""

__version__ = "20.0.0"
