"""Warnings of threads, recorded beside each other."""

import threading
import warnings

import pytest

from skrdae._warned import recorded


@pytest.mark.filterwarnings("error")
def test_threads_that_overlap_leave_the_process_as_it_was():
    before = warnings.filters, list(warnings.filters), warnings.showwarning
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    found = {}

    def first():
        with recorded() as mine:
            first_in.set()
            assert second_in.wait(30)
            warnings.warn("first", UserWarning, stacklevel=1)
        found["first"] = mine
        first_out.set()

    def second():
        assert first_in.wait(30)
        with recorded() as mine:
            second_in.set()
            assert first_out.wait(30)
            warnings.warn("second", UserWarning, stacklevel=1)
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join(30)
        found["second"] = mine

    def elsewhere():  # a thread that does not record keeps the filters of the process
        try:
            warnings.warn("elsewhere", UserWarning, stacklevel=1)
        except UserWarning:
            found["elsewhere"] = True

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found.pop("elsewhere")
    assert found == {name: [(UserWarning, name)] for name in ("first", "second")}
    assert before[0] is warnings.filters
    assert before[1:] == (list(warnings.filters), warnings.showwarning)
