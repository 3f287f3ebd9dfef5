"""The in-process SDK: ask for recommendations, or draft them locally, and send events. Loads no NumPy.

>>> from incumbent.client import Client
>>> client = Client("http://127.0.0.1:8000")
>>> client.pending
0
>>> client.close()
True
"""

from incumbent.client.client import Client
from incumbent.client.sender import Rejected, Sent

__all__ = ["Client", "Rejected", "Sent"]
