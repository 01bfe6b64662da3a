"""The engine that central opens, on both databases."""

import gc
import threading
import warnings

import sqlalchemy as sa

from central import database


def test_a_connection_that_is_in_use_when_the_engine_is_disposed_of_is_closed_when_it_comes_back(
    database_url: str,
) -> None:
    engine = database.open_engine(database_url)
    reads, may_end = threading.Event(), threading.Event()
    seen: list[object] = []

    def read() -> None:
        with database.reading(engine) as connection:
            seen.append(connection.connection.driver_connection)
            reads.set()
            may_end.wait(30)
            seen.append(connection.scalar(sa.text("SELECT 7")))

    thread = threading.Thread(target=read)
    thread.start()
    assert reads.wait(30)
    engine.dispose()
    may_end.set()
    thread.join()
    driver, answer = seen
    assert answer == 7, "it reads on"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            driver.execute("SELECT 1")  # type: ignore[attr-defined]
        except Exception as error:  # noqa: BLE001 (each driver has its own)
            assert "closed" in str(error)
        else:
            raise AssertionError("it is still open")
        seen.clear()
        del driver
        gc.collect()
    with database.reading(engine) as connection:
        assert connection.scalar(sa.text("SELECT 8")) == 8, "the engine can be used again"
    engine.dispose()
