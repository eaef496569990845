import threading

import pytest

from transect.train.prefetch import prefetch


@pytest.mark.parametrize("depth", [0, 1, 5])
def test_order_is_kept(depth):
    assert list(prefetch(iter(range(50)), depth=depth)) == list(range(50))


def test_error_of_the_thread_reaches_the_caller():
    def broken():
        yield 1
        raise ValueError("from the thread")

    items = prefetch(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="from the thread"):
        next(items)


def test_closing_ends_the_thread():
    def endless():
        while True:
            yield 0

    items = prefetch(endless(), depth=1)
    next(items)
    items.close()
    assert not [t for t in threading.enumerate() if t.name == "transect-prefetch"]
