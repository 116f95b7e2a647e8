from __future__ import annotations

import os
import threading

from balena_supervisor.runtime import output


def drain(reader: int) -> bytes:
    os.set_blocking(reader, False)
    got = b""
    try:
        while chunk := os.read(reader, 65536):
            got += chunk
    except BlockingIOError:
        return got
    return got


def test_a_line_has_level_subject_fact_and_fields() -> None:
    line = output.line("info", "images", "pulled", name="a b", bytes=5, api_key="s3cret", url="x?token=1")
    assert line == '[info]    images pulled name="a b" bytes=5 api_key=*** url=x?token=***'


def test_a_stuck_pipe_blocks_nobody_and_the_loss_is_noted() -> None:
    reader, descriptor = os.pipe()
    writer = output.Writer(descriptor, max_lines=10)
    writer.use_thread()
    for number in range(200):
        writer.write(f"{number} " + "x" * 60_000)
    got = b""
    pause = threading.Event()
    for _ in range(500):
        got += drain(reader)
        if b"output lines were dropped count=" in got:
            break
        writer.write("more")
        pause.wait(0.01)
    closer = threading.Thread(target=writer.close)
    closer.start()
    while closer.is_alive():
        drain(reader)
        closer.join(0.01)
    assert b"output lines were dropped count=" in got
    assert got.startswith(b"0 xxx")


def test_without_a_thread_a_full_pipe_drops_the_line() -> None:
    reader, descriptor = os.pipe()
    writer = output.Writer(descriptor)
    for _ in range(100):
        writer.write("x" * 4000)
    writer.flush()
    assert 0 < len(drain(reader)) < 100 * 4001


def test_without_a_thread_a_text_longer_than_a_pipe_takes_at_once_is_written_whole() -> None:
    reader, descriptor = os.pipe()
    output.Writer(descriptor).write("x" * 10_000)
    assert drain(reader) == b"x" * 10_000 + b"\n"


def test_without_a_thread_a_pipe_that_nobody_reads_any_more_is_no_error() -> None:
    reader, descriptor = os.pipe()
    os.close(reader)
    output.Writer(descriptor).write("x")


def test_lines_that_follow_closely_are_written_in_one_piece_and_flush_waits_for_them() -> None:
    reader, descriptor = os.pipe()
    writer = output.Writer(descriptor)
    writer.use_thread()
    for number in range(100):
        writer.write(str(number))
    writer.flush(timeout_s=20)
    assert drain(reader) == b"".join(b"%d\n" % number for number in range(100))
    writer.close()
