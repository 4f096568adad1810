"""Jobs in several processes, each of which takes the next when it is done with one."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from internet.commands._shared.ablation.job import Job, run_job


def run_jobs(jobs: Sequence[Job], processes: int, progress: Callable[[Iterable[object]], Iterable[object]]) -> bool:
    """Run all jobs; False if one was stopped by a signal, whose work is saved then.

    Args:
        jobs: seed by seed, so that what is there at any time can be compared.
        processes: how many; 1 stays in this one.
        progress: shows how far they are, as tqdm does.
    """
    if processes == 1:
        return all(run_job(job) for job in _typed(progress(jobs)))
    context = get_context("spawn")  # a forked process would share torch's threads, which it does not have
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        futures = [pool.submit(run_job, job) for job in jobs]
        try:
            finished = [future.result() for future in progress(as_completed(futures))]  # type: ignore[attr-defined]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return all(finished)


def _typed(jobs: Iterable[object]) -> Iterable[Job]:
    return (job for job in jobs if isinstance(job, Job))
