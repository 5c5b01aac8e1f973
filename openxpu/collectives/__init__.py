# Collective communication between cards: groups of ranks, and a way to start them.
"""A rank is a process with one card. `spawn` starts ranks on this machine and joins them to a group; programs that are
started otherwise, also on several machines, make a unique id on rank 0, hand it to the others by any means, and call
`Group`."""

from openxpu.collectives.group import Group, unique_id
from openxpu.collectives.spawn import spawn

__all__ = ["Group", "spawn", "unique_id"]
