"""The parts of ``tools/dev``.

``paths``, ``terminal``, ``packages``, ``install`` and ``main`` use the standard library only, since they run before
the virtual environment exists. The others run in it.
"""
