"""A call as a CUDA graph, which takes the host's cost of launches away."""

from collections.abc import Callable

import torch


def replayed(run: Callable[[], object]) -> Callable[[], object] | None:
    """A call that replays the CUDA graph of `run`; each replay overwrites the result of the captured call.

    None if the call waits for the device, which a graph cannot contain. This is tested before the capture, as a failed
    capture would leave the allocator in an inconsistent state.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()  # one-time work, outside the graph
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
