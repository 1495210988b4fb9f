# Makes jobs in every status that RQ 1.13 knows, and by hand what later versions and
# other users of the same Redis write. Run by redistest.RQ; DBS is put in front.
import os, redis
from datetime import timedelta
from rq import Queue, Retry, SimpleWorker
from rq.job import Dependency, Job
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer

MARK = 'payload-marker-31337'
BIG = bytes(range(256)) * (8 << 10)  # 2 MiB


def fill(db):
    c = redis.from_url(os.environ['REDIS_URL'].replace('db=0', 'db=%d' % db))

    def queue(name, **kw):
        return Queue(name, connection=c, **kw)

    q = queue('default')
    for i in range(5):
        q.enqueue('tasks.note', MARK, i, job_id='o%d' % i, meta={'secret': MARK}, description='note(%s)' % MARK)
    q.enqueue('tasks.note', job_id='front', at_front=True)
    q.enqueue('tasks.note', job_id='ttl', ttl=86400)
    q.enqueue('tasks.note', job_id='retry-waits', retry=Retry(max=3, interval=[1, 2]))
    q.enqueue('tasks.note', BIG, job_id='big')
    q.enqueue('tasks.note', b'\x00\xff\x80' + MARK.encode(), job_id='bytes')
    q.enqueue('tasks.note', job_id='odd:id.with space \u00fc\u2713')
    q.enqueue('tasks.note', job_id='odd:dependents')
    q.enqueue('tasks.note', job_id='callbacks', job_timeout=-1)
    for name in ('mail:eu', 'x', 'x:intermediate'):
        for i in range(3):
            queue(name).enqueue('tasks.note', job_id='%s#%d' % (name, i))
    for i in range(2):
        queue('json', serializer=JSONSerializer).enqueue('tasks.note', {'a': [MARK, i]}, job_id='json%d' % i)

    # What a worker leaves behind.
    done = queue('done')
    done.enqueue('tasks.answer', job_id='fin-500')
    done.enqueue('tasks.answer', job_id='fin-ever', result_ttl=-1)
    done.enqueue('tasks.answer', job_id='fin-none', result_ttl=0)
    done.enqueue('tasks.fail', job_id='fail')
    done.enqueue('tasks.fail', job_id='fail-ever', failure_ttl=-1)
    done.enqueue('tasks.fail', job_id='fail-hour', failure_ttl=3600)
    done.enqueue('tasks.fail', job_id='fail-retried', retry=Retry(max=2, interval=3600))
    done.enqueue('tasks.fail', job_id='requeued')
    done.enqueue('tasks.fail', job_id='stopped')
    w = SimpleWorker([done], connection=c, name='w%d' % db)
    w._stopped_job_id = 'stopped'
    w.work(burst=True, logging_level='CRITICAL')
    FailedJobRegistry(queue=done).requeue('requeued')

    # Jobs that wait for others.
    p1 = q.enqueue('tasks.note', job_id='p1')
    p2 = queue('mail:eu').enqueue('tasks.note', job_id='p2')
    q.enqueue('tasks.note', job_id='waits-1', depends_on=p1)
    q.enqueue('tasks.note', job_id='waits-2', depends_on=[p1, p2], ttl=7200)
    q.enqueue('tasks.note', job_id='waits-ended', depends_on=[Job.fetch('fin-ever', connection=c), p2])
    q.enqueue('tasks.note', job_id='waits-any', depends_on=Dependency(jobs=[p1], allow_failure=True, enqueue_at_front=True))
    a = queue('chain').enqueue('tasks.note', job_id='A')
    b = queue('chain').enqueue('tasks.note', job_id='B', depends_on=a)
    queue('chain').enqueue('tasks.note', job_id='C', depends_on=b)

    q.enqueue_in(timedelta(hours=1), 'tasks.note', job_id='later')
    q.enqueue('tasks.note', job_id='canceled').cancel()
    q.enqueue('tasks.note', job_id='canceled-deferred', depends_on=p1).cancel()
    Job.create('tasks.note', id='created', connection=c, origin='default').save()

    # Jobs that run.
    run = queue('run')
    for n in ('running', 'running-2'):
        run.enqueue('tasks.note', job_id=n)
        c.lpop('rq:queue:run')
        rw = SimpleWorker([run], connection=c, name='%s%d' % (n, db))
        rw.register_birth()
        rw.prepare_job_execution(Job.fetch(n, connection=c))
    q.enqueue('tasks.note', job_id='waits-running', depends_on=Job.fetch('running', connection=c))

    # The keys of later versions.
    e = '0123456789abcdef' * 2
    score = c.zscore('rq:wip:run', 'running-2')
    c.zrem('rq:wip:run', 'running-2')
    c.zadd('rq:wip:run', {'running-2:' + e: score})
    c.zadd('rq:executions:running-2', {e: score})
    c.expire('rq:executions:running-2', 150)
    c.hset('rq:execution:running-2:' + e, mapping={'id': e})
    c.expire('rq:execution:running-2:' + e, 90)
    for i in range(3):
        queue('single').enqueue('tasks.note', job_id='s%d' % i)
    c.lmove('rq:queue:single', 'rq:queue:single:intermediate', 'LEFT', 'RIGHT')
    c.set('rq:queue:single:intermediate:first_seen:s0', '1.5', ex=86400)
    for n in ('o1', 'o2', 'running'):
        c.sadd('rq:group:g1', n)
        c.hset('rq:job:' + n, 'group_id', 'g1')
    c.sadd('rq:groups', 'g1')

    # Wreckage.
    c.hset('rq:job:stub', 'last_heartbeat', '2026-01-01T00:00:00.000000Z')
    c.rpush('rq:queue:default', 'dangling')
    c.zadd('rq:finished:done', {'dangling-2': 99999999999})
    poison = c.hgetall('rq:job:o0')
    poison[b'status'] = b'exploded'
    c.hset('rq:job:poison', mapping=poison)
    c.set('rq:unheard-of', '1')

    # What must never come back.
    c.set('rq:clean_registries:default', 1)
    c.set('rq:scheduler-lock:default', 'me')
    c.set('rq:suspended', 1)
    c.hset('rq:worker:ghost', 'birth', '2026-01-01T00:00:00.000000Z')
    c.sadd('rq:workers', 'rq:worker:ghost')
    c.zadd('rq:cron_schedulers', {'cs': 1})

    # What is not RQ's.
    c.set('session:1', MARK, ex=5000)
    c.rpush('session:list', *['item%d' % i for i in range(300)])
    c.sadd('session:set', *range(50))
    c.zadd('session:zset', {'a': 1.5, 'b': float('inf'), 'c': -2})
    c.hset('session:hash', mapping={'a': 1, 'b': 2})
    c.xadd('session:stream', {'f': 'v'}, id='5-1')
    c.xgroup_create('session:stream', 'g', id='0')
    c.set(b'session:\x00\xff', b'\x01\xfe')
    c.set('orchestrator:tasks', 1)


for db in DBS:
    fill(db)
