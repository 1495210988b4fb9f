"""Enqueues jobs of every kind, and writes down each id that Redis has acknowledged."""

import json
import os
import random
import time
import uuid
from datetime import timedelta

from rq import Queue, Retry
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Dependency, Job

QUEUES = ("high", "default", "low")

# The kinds and how often each is chosen.
KINDS = {
    "plain": 40, "slow": 6, "traceless": 10, "ttl": 6, "brief": 5, "broken": 6, "flaky": 6, "later-flaky": 3,
    "front": 5, "scheduled": 6, "chain": 4, "fan": 2, "in-spite": 2,
}


class Producer:
    def __init__(self, connection, seed, prefix):
        self.connection, self.random, self.prefix, self.seed = connection, random.Random(seed), prefix, seed
        self.count, self.sent = 0, []

    def id(self, name):
        """An id as RQ makes them, the same for the same seed and name; the ledger names it."""
        id = str(uuid.uuid5(uuid.NAMESPACE_OID, "%s-%s" % (self.seed, name)))
        with open(os.environ["ACKNOWLEDGED"] + ".names", "a") as f:
            f.write("%s %s\n" % (id, name))
        return id

    def queue(self):
        return Queue(self.random.choice(QUEUES), connection=self.connection)

    def enqueue(self, kind, func="work", args=(), due=None, **options):
        self.count += 1
        seconds = self.random.uniform(0.5, 1.5) if kind == "slow" else self.random.uniform(0.02, 0.15)
        options.update(job_id=self.id("%s%04d-%s" % (self.prefix, self.count, kind)), args=(seconds,) + args, job_timeout=20)
        options.setdefault("result_ttl", 600)
        queue = self.queue()
        if due is not None:
            job = queue.enqueue_in(timedelta(seconds=due), "jobs." + func, **options)
        else:
            job = queue.enqueue("jobs." + func, **options)
        self.acknowledged(job, kind)
        return job

    def acknowledged(self, job, kind):
        self.sent.append(job.id)
        line = json.dumps({"id": job.id, "queue": job.origin, "at": time.time(), "parents": job._dependency_ids, "kind": kind}) + "\n"
        with open(os.environ["ACKNOWLEDGED"], "a") as f:
            f.write(line)

    def one(self):
        """Enqueues one job of some kind, with those that belong to it."""
        kind = self.random.choices(list(KINDS), KINDS.values())[0]
        if kind == "traceless":
            self.enqueue(kind, result_ttl=0)
        elif kind == "ttl":
            self.enqueue(kind, ttl=600)
        elif kind == "brief":
            self.enqueue(kind, ttl=self.random.randint(1, 3), result_ttl=1)
        elif kind == "broken":
            self.enqueue(kind, "broken")
        elif kind == "flaky":
            self.enqueue(kind, "flaky", (2,), retry=Retry(max=2))
        elif kind == "later-flaky":
            self.enqueue(kind, "flaky", (2,), retry=Retry(max=2, interval=1))
        elif kind == "front":
            self.enqueue(kind, at_front=True)
        elif kind == "scheduled":
            self.enqueue(kind, due=self.random.randint(1, 4))
        elif kind == "chain":
            job = self.enqueue(kind, result_ttl=self.random.choice((0, 600)))
            for _ in range(self.random.randint(1, 3)):
                job = self.enqueue(kind, depends_on=job, result_ttl=self.random.choice((0, 600)))
        elif kind == "fan":
            self.enqueue(kind, depends_on=[self.enqueue(kind) for _ in range(2)])
        elif kind == "in-spite":
            parent = self.enqueue(kind, "broken")
            self.enqueue(kind, depends_on=Dependency(jobs=[parent], allow_failure=True))
        else:
            self.enqueue(kind)

    def meddle(self):
        """Does to one earlier job what people do to jobs."""
        try:
            job = Job.fetch(self.random.choice(self.sent), connection=self.connection)
            what = self.random.choice(("cancel", "delete", "requeue", "requeue"))
            if what == "requeue" and job.get_status() == "failed":
                job.requeue()
            elif what == "cancel" and job.get_status() in ("queued", "deferred", "scheduled"):
                job.cancel()
            elif what == "delete" and self.mine(job):
                job.delete()
        except (NoSuchJobError, InvalidJobOperation):
            pass  # it has ended, or a worker was quicker

    def mine(self, job):
        """Whether no worker has the job or can take it: RQ writes one anew that is deleted while it runs."""
        if job.get_status() == "queued":
            return self.connection.lrem(Queue(job.origin, connection=self.connection).key, 1, job.id) == 1
        return job.is_finished or job.is_failed or job.is_canceled or job.is_deferred

    def run(self, count, rate, meddle):
        """Enqueues that many jobs, about rate jobs a second."""
        while self.count < count:
            self.one()
            if meddle and self.random.random() < 0.3:
                self.meddle()
            time.sleep(self.random.expovariate(rate))
