"""A call as a CUDA graph: what is left when no launch costs the host anything."""

from collections.abc import Callable

import torch


def replayed(run: Callable[[], object]) -> Callable[[], object] | None:
    """A call that replays the graph of another, which has no arguments; its result is that call's, overwritten.

    None where the call waits for the device, which a graph cannot. A capture that fails would leave the allocator
    in disorder, so that is found out before.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()  # whatever is made once, outside of the graph
        is_waiting = _waits(run)
    torch.cuda.current_stream().wait_stream(side)
    if is_waiting:
        return None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def _waits(run: Callable[[], object]) -> bool:
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run()
    except RuntimeError as error:
        if "synchronizing" not in str(error):
            raise
        return True
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return False
