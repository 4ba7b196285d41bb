"""A function that answers as told, and the records that it receives."""

HOUR = 3600


class Function:
    """A handler that notes what it got and answers as told; `answers` may hold exceptions."""

    def __init__(self, *answers, always=None):
        self.answers = list(answers)
        self.always = always
        self.events = []
        self.contexts = []
        self.batches = []
        """What it received, by the runs and sequences in the keys: ``["a1", "a2"]``."""

    def __call__(self, event, context):
        self.events.append(event)
        self.batches.append([label(record) for record in event["Records"]])
        self.contexts.append(context)
        answer = self.answers.pop(0) if self.answers else self.always
        answer = answer(event) if callable(answer) and not isinstance(answer, type) else answer
        if isinstance(answer, BaseException) or (isinstance(answer, type) and issubclass(answer, BaseException)):
            raise answer
        return answer


def label(record):
    keys = record["dynamodb"]["Keys"]
    return keys["run_id"]["S"] + keys["sequence"]["N"]


def write(stream, *labels):
    """Append one record for each label, and return them: ``write(stream, "a1", "a2", "b1")``."""
    return [stream.append(keys(one), keys(one) | {"events": {"S": "[]"}}) for one in labels]


def keys(one):
    return {"run_id": {"S": one[0]}, "sequence": {"N": one[1:]}}


def number(event, wanted):
    """The sequence number of a record that a function received."""
    return next(r["dynamodb"]["SequenceNumber"] for r in event["Records"] if label(r) == wanted)


def report(*labels):
    """An answer that reports these records, those of them that are in the batch, as failed."""

    def answer(event):
        there = [label(record) for record in event["Records"]]
        return {"batchItemFailures": [{"itemIdentifier": number(event, one)} for one in labels if one in there]}

    return answer


def raise_on(*labels):
    """An answer that raises where one of these records is in the batch."""

    def answer(event):
        if found := [label(record) for record in event["Records"] if label(record) in labels]:
            raise RuntimeError(f"poison: {found}")

    return answer
