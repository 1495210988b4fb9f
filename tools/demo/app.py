"""What an application does: python3 app.py start, and again, after the outage, more."""

import os
import sys
from datetime import timedelta

from redis import Redis
from rq import Queue

import jobs

redis = Redis.from_url(os.environ["RQ_REDIS_URL"])
mails, images, reports = (Queue(name, connection=redis) for name in ("mails", "images", "reports"))
sent = []


def start():
    for n in range(1, 21):
        sent.append(mails.enqueue(jobs.mail, "user%d@example.com" % n, job_id="mail-%02d" % n))
    sent.append(images.enqueue(jobs.broken, job_id="broken"))
    for n in range(1, 13):
        sent.append(images.enqueue(jobs.image, "photo%d.jpg" % n, job_id="image-%02d" % n))
    for month in ("jan", "feb", "mar"):
        sent.append(reports.enqueue(jobs.report, month, job_id="figures-" + month))
        sent.append(reports.enqueue(jobs.report, month, job_id="report-" + month, depends_on=sent[-1]))
    sent.append(mails.enqueue_in(timedelta(seconds=20), jobs.mail, "boss@example.com", job_id="reminder"))


def more():
    for n in (21, 22):
        sent.append(mails.enqueue(jobs.mail, "user%d@example.com" % n, job_id="mail-%02d" % n))


{"start": start, "more": more}[sys.argv[1]]()
with open("enqueued.log", "a") as log:
    log.writelines(job.id + "\n" for job in sent)
print(len(sent), "jobs enqueued")
