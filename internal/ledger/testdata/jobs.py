"""What the jobs do: each writes down that it begins, and how it ends, outside of Redis."""

import json
import os
import time

from rq import get_current_job


def note(what):
    line = json.dumps([time.time(), what, get_current_job().id, os.getpid()]) + "\n"
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, line.encode())
    os.close(ledger)


def work(seconds):
    note("begin")
    time.sleep(seconds)
    note("end")


def broken(seconds):
    work(seconds)
    raise ValueError("this one always fails")


def flaky(seconds, retries):
    """Fails while it has all its retries."""
    note("begin")
    time.sleep(seconds)
    if get_current_job().retries_left == retries:
        note("retry")
        raise ValueError("this one fails at first")
    note("end")
