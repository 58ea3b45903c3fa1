"""Runs a function on several ranks of one thread, with PyTorch's default process group over Gloo: for the generators of goldens."""
import socket
import sys

import torch


def _rank(rank, ranks, port, work, queue):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
    out = work(rank)
    if rank == 0:
        queue.put(out)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def on_ranks(work, ranks, timeout):
    """What work(0) gives, beside work(1) and so on; work is a function of a module. timeout is in seconds."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        free = s.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_rank, args=(r, ranks, free, work, queue)) for r in range(ranks)]
    for p in processes:
        p.start()
    out = queue.get(timeout=timeout)
    for p in processes:
        p.join()
    if any(p.exitcode for p in processes):
        sys.exit("a rank failed")
    return out
