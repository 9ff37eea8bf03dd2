"""How the processors are shared: a thread of torch for each request, indexing behind searches."""

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from live_server import until
from seesay.api.jobs import Jobs
from seesay.api.work import Work
from seesay.search.collection import Collection
from seesay.search.library import Library


def test_what_is_computed_for_a_request_takes_one_thread_of_torch_and_the_others_keep_theirs():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    work = Work("search", threads=1, max_waiting=1, timeout_s=10.0)
    try:
        assert asyncio.run(work(torch.get_num_threads)) == 1
        with ThreadPoolExecutor(1) as later:
            others = [torch.get_num_threads(), later.submit(torch.get_num_threads).result()]
        assert others == [3, 3]
    finally:
        work.close()
        torch.set_num_threads(before)


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has no priority of its own")
def test_indexing_gives_way_to_searches(own, monkeypatch):
    seen, before = [], torch.get_num_threads()

    def index(*_, **__):
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        seen.append(torch.get_num_threads())
        raise OSError("that was all")

    monkeypatch.setattr(Collection, "index", index)
    with Library.open([own]) as library:
        jobs = Jobs(library)
        jobs.index(library.names[0], [])
        until(lambda: len(seen) == 2)
        jobs.close()
    here = os.getpriority(os.PRIO_PROCESS, 0)
    assert seen == [15, max(1, os.cpu_count() // 2)] and here < 15
    assert torch.get_num_threads() == before
