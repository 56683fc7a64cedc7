"""When Python looks for reference cycles. A full look through a node's 300,000 objects takes 100 to 200 ms: frames.

What start-up has made stays as long as the node is active, and is left out of every look (`gc.freeze`).
"""

import gc

from storm_ros.memory import give_back


def settle() -> None:
    """Everything that is there now is there to stay."""
    gc.freeze()


def clear() -> None:
    """Something large has been let go: free what only cycles hold, then leave the rest alone again."""
    gc.unfreeze()
    gc.collect()
    give_back()
    gc.freeze()
