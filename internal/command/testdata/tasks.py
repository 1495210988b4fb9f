# The work of the tests' jobs. Each run appends a line to the file "ran" beside this one.
import json, os
from rq import get_current_job

HERE = os.path.dirname(os.path.abspath(__file__))


def note(*args, **kwargs):
    job = get_current_job()
    with open(os.path.join(HERE, 'ran'), 'a') as f:
        f.write(json.dumps([job.connection.connection_pool.connection_kwargs.get('db', 0), job.origin, job.id]) + '\n')


def answer():
    note()
    return {'result': 'payload-marker-31337'}


def fail():
    note()
    raise ValueError('payload-marker-31337')


def wait():
    note()
    get_current_job().connection.blpop('go', 60)
