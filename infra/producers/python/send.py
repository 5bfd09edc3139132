"""Sends updates to Runcast: JSON lines on stdin, one update each. Sent twice, one counts once.

Invokes the worker; where QUEUE_URL is set, sends to that SQS FIFO queue instead. RUNCAST_URL names
a local stack (`runcast up`); on AWS leave it out.
"""

import json
import os
import sys

import boto3


def invoke(updates):
    """Sends all updates at once; returns what became of each."""
    client = boto3.client("lambda", endpoint_url=os.environ.get("RUNCAST_URL"))
    name = os.environ.get("RUNCAST_WORKER", "worker")
    answer = client.invoke(FunctionName=name, Payload=json.dumps({"updates": updates}))
    body = json.load(answer["Payload"])
    if "FunctionError" in answer:
        # Nothing was committed: send the same updates again.
        raise RuntimeError(body)
    return body


def group_of(update):
    """What keeps its order: an execution's updates, a run's with those of the tests that name it."""
    if update["kind"] == "test" and update.get("runId"):
        return f"job:{update['runId']}"
    return f"{update['kind']}:{update['id']}"


def enqueue(updates, queue_url):
    """Sends each update to the queue, in order within its group."""
    client = boto3.client("sqs")
    for update in updates:
        client.send_message(
            QueueUrl=queue_url,
            MessageBody=json.dumps(update),
            MessageGroupId=group_of(update),
            MessageDeduplicationId=update["eventId"],
        )


if __name__ == "__main__":
    lines = [json.loads(line) for line in sys.stdin]
    queue = os.environ.get("QUEUE_URL")
    print(json.dumps(enqueue(lines, queue) if queue else invoke(lines)))
