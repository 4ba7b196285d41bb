"""A service that runs durable functions, by the SDK's own package for tests, and processes that can be killed."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time

from aws_durable_execution_sdk_python_testing.executor import Executor
from aws_durable_execution_sdk_python_testing.runner import DurableFunctionTestRunner

from behest_core.recording.adapter import id_of
from behest_core.store import RunStore


class Service:
    """Runs durable functions: waits take no time, and an invocation that failed is tried again at once."""

    def __init__(self):
        self._runners = []

    def __enter__(self):
        self._levels = {name: logging.getLogger(name).level for name in _NOISY}
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._backoff, Executor.RETRY_BACKOFF_SECONDS = Executor.RETRY_BACKOFF_SECONDS, 0
        return self

    def __exit__(self, *_):
        Executor.RETRY_BACKOFF_SECONDS = self._backoff
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        for runner in self._runners:
            runner.close()
            runner._scheduler._loop.close()  # which it leaves to the garbage

    def start(self, function, given="{}", others=()):
        """Begin an execution; return it. `others` are durable functions that it may invoke, by name."""
        runner = DurableFunctionTestRunner(handler=function, poll_interval=0.01)
        self._runners.append(runner)
        for name, other in dict(others).items():
            runner.register_durable_function(name, other)
        return Execution(runner, runner.run_async(input=given, timeout=60))

    def run(self, function, given="{}", others=()):
        """Run an execution to its end; return what came out."""
        return self.start(function, given, others).result()


class LambdaService:
    """Stands for AWS Lambda in the documentation's example."""

    def run(self, function, given="{}"):
        """Run an execution to its end."""
        with Service() as service:
            return service.run(function, given)


class Execution:
    """An execution that is under way."""

    def __init__(self, runner, arn):
        self.arn = arn
        self._runner = runner

    def result(self):
        """Wait for the end."""
        return self._runner.wait_for_result(self.arn, timeout=60)

    def callback(self, name):
        """Wait for a callback to be there; return its id."""
        return self._runner.wait_for_callback(self.arn, name=name)

    def told(self, store, kind, count=1):
        """Wait until its log has so many events of a type."""
        run_id, types, deadline = id_of(self.arn), [], time.monotonic() + 30
        while types.count(kind) < count:
            assert time.monotonic() < deadline, f"{types} has no {count} {kind}"
            types = [json.loads(each.raw)["type"] for each in store.events(run_id)]

    def succeed(self, callback_id, result=None):
        """Complete a callback."""
        self._runner.send_callback_success(callback_id, result)

    def fail(self, callback_id, error=None):
        """Complete a callback with an error."""
        self._runner.send_callback_failure(callback_id, error)


class KilledError(Exception):
    """The process is no more."""


class Process:
    """The process of one invocation: whatever it calls, `moment` is called before and after.

    One that is killed does nothing more. One that sleeps is given up by the service, and goes on when it wakes: with all but the
    service, which doesn't listen to it any more.
    """

    def __init__(self, reaper):
        self._reaper = reaper
        self.is_dead = False
        self.is_given_up = False
        self.is_over = threading.Event()

    def moment(self):
        """Be killed or fall asleep here, if this is when."""
        if not self.is_dead and self._reaper.strikes():
            self.is_given_up = True
            self.is_over.set()
            self.is_dead = not self._reaper.sleeps
            if self._reaper.sleeps:
                self._reaper.morning.wait(30)
        if self.is_dead:
            raise KilledError

    def moment_of_the_service(self):
        """Be killed or fall asleep here; one that was given up gets no further."""
        self.moment()
        if self.is_given_up:
            raise KilledError

    def calling(self, called, moment=None):
        """Return what calls it from this process."""
        return _Calling(called, moment or self.moment)


class _Calling:
    def __init__(self, called, moment):
        self._called = called
        self._moment = moment

    def __getattr__(self, name):
        method = getattr(self._called, name)
        if not callable(method) or name == "exceptions":
            return method

        def call(*args, **kwargs):
            self._moment()
            answer = method(*args, **kwargs)
            self._moment()
            return answer

        return call


class Reaper:
    """Counts the moments of all processes, and strikes the one that has one of these: kills it, or puts it to sleep."""

    def __init__(self, *fatal, sleeps=False):
        self.moments = 0
        self.sleeps = sleeps
        self.morning = threading.Event()
        self.threads = []
        self._fatal = fatal
        self._lock = threading.Lock()

    def strikes(self):
        """Return whether this moment is one of them."""
        with self._lock:
            self.moments += 1
            return self.moments in self._fatal

    def wake(self):
        """Let all that sleep go on, to their end."""
        self.morning.set()
        for thread in self.threads:
            thread.join(30)


def mortal(stack, reaper, make):
    """Return a durable function, each invocation of which has a process of its own, with `make(store, process)` in it."""

    def invoke(event, context):
        process = Process(reaper)
        store = RunStore(stack.event_table, stack.state_table, client=process.calling(stack.dynamodb))
        service = process.calling(event.service_client, process.moment_of_the_service)
        answers = []

        def work():
            try:
                answers.append(make(store, process)(dataclasses.replace(event, service_client=service), context))
            except Exception as error:  # noqa: BLE001 (whatever it is, the service tries again)
                answers.append(error)
            process.is_over.set()

        thread = threading.Thread(target=work)
        reaper.threads.append(thread)
        thread.start()
        process.is_over.wait(30)
        if process.is_given_up or isinstance(answers[0], Exception):
            raise KilledError
        return answers[0]

    return invoke


_NOISY = ("aws_durable_execution_sdk_python", "aws_durable_execution_sdk_python_testing")
