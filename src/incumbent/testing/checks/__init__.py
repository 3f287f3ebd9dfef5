"""Contract suites, one per interface, over every registered implementation: yours too. `incumbent check NAME` runs one.

`suite.py` is the framework; each other module here holds the laws of one interface and a ``run(names=None)``.
"""
