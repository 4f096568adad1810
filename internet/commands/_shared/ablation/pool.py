"""Jobs in several processes, each of which takes the next job when it has finished one."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from internet.commands._shared.ablation.job import Job, run_job


def run_jobs(jobs: Sequence[Job], processes: int, progress: Callable[[Iterable[object]], Iterable[object]]) -> bool:
    """Run all jobs. False if one was stopped by a signal; its work is then saved.

    Args:
        jobs: seed by seed, so that the results at any time can be compared.
        processes: how many; 1 means this one.
        progress: shows progress, like tqdm.
    """
    if processes == 1:
        return all(run_job(job) for job in _typed(progress(jobs)))
    context = get_context("spawn")  # torch's threads do not exist in a forked process
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
