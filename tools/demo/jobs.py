"""What the workers do. Each job writes its own id into ran.log, each time it runs."""

from rq import get_current_job


def ran():
    with open("ran.log", "a") as log:
        log.write(get_current_job().id + "\n")


def mail(to):
    ran()


def image(name):
    ran()


def report(month):
    ran()


def broken():
    ran()
    raise ValueError("this one always fails")
