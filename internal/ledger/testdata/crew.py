"""The processes of one run: a producer, a scheduler, workers. Reads commands as lines of
JSON and answers each with one. When its input ends, all that it started ends with it."""

import ctypes
import glob
import json
import os
import signal
import sys

import redis
from rq import Queue, Worker
from rq.registry import StartedJobRegistry
from rq.scheduler import RQScheduler

import jobs  # noqa: F401, here so that workers need not import it for each job
from producer import QUEUES, Producer

PR_SET_PDEATHSIG = 1
pids = {}  # of what runs, by name


def connect():
    return redis.from_url(os.environ["REDIS_URL"])


def worker(name, queues, burst=False):
    connection = connect()
    Worker([Queue(q, connection=connection) for q in queues], connection=connection, name=name).work(
        burst=burst, logging_level="INFO")


def scheduler(name):
    RQScheduler(QUEUES, connection=connect()).work()


def producer(name, seed, prefix, count, rate, meddle=False):
    Producer(connect(), seed, prefix).run(count, rate, meddle)


def maintenance(name):
    """What a worker does every ten minutes about jobs whose workers died."""
    connection = connect()
    for q in QUEUES:
        StartedJobRegistry(q, connection=connection).cleanup()


def start(name, role, **options):
    pid = os.fork()
    if pid:
        pids[name] = pid
        return
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        log = os.open("crew.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        {"worker": worker, "scheduler": scheduler, "producer": producer, "maintenance": maintenance}[role](name, **options)
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        os._exit(code)


def reap():
    for name, pid in list(pids.items()):
        if os.waitpid(pid, os.WNOHANG)[0]:
            del pids[name]


def horses(pid):
    """The processes in which a worker runs its jobs."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as f:
                stat = f.read()
        except OSError:
            continue  # it has just ended
        state, parent = stat.rpartition(")")[2].split()[:2]
        if int(parent) == pid and state != "Z":
            found.append(int(path.split("/")[2]))
    return found


def kill(name, worker=True, horse=True, busy=False):
    """Ends a worker, or the job it runs, or both, as a machine's end would; or, if it is
    to be busy and is not, leaves it alone."""
    pid = pids.get(name)
    if pid is None:
        return 0
    os.kill(pid, signal.SIGSTOP)  # it reaps no horse and starts none
    running = horses(pid)
    if busy and not running:
        os.kill(pid, signal.SIGCONT)
        return 0
    for h in running if horse else []:
        os.kill(h, signal.SIGKILL)
    if worker:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        del pids[name]
    else:
        os.kill(pid, signal.SIGCONT)
    return len(running)


def stop(name):
    """Ends a worker in the orderly way: after its job."""
    if name in pids:
        os.kill(pids[name], signal.SIGTERM)


def status():
    return {name: len(horses(pid)) for name, pid in pids.items()}


def main():
    commands = {"start": start, "kill": kill, "stop": stop, "status": status}
    for line in sys.stdin:
        reap()
        command = json.loads(line)
        answer = commands[command.pop("do")](**command)
        print(json.dumps(answer), flush=True)
    for name in list(pids):
        kill(name)


if __name__ == "__main__":
    main()
