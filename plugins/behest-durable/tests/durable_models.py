"""What stands in for a model in the steps of durable functions, and how they are tried again."""

from aws_durable_execution_sdk_python.config import StepConfig
from aws_durable_execution_sdk_python.retries import RetryStrategyConfig, create_retry_strategy
from behest_durable import current_step

QUESTION = [{"role": "user", "content": "How warm is it in Oslo?"}]


def tried(times):
    """Return how a step is tried so often."""
    return StepConfig(retry_strategy=create_retry_strategy(RetryStrategyConfig(max_attempts=times)))


def ask(step=None, messages=QUESTION):
    """Ask a model in a step, by hand; it was given `messages`."""
    call = current_step().model_call(messages=messages)
    call.text("It is ")
    call.text("3 degrees.")
    call.usage(10, 5)
    call.finished("stop")
    return "It is 3 degrees."
