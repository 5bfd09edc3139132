"""What tells how it goes, and what it costs."""

import json
import re

from resolve import Stack
from templates import CHECKOUT, of_type, properties
from updates import NEW

# What the sources count, and the label, if any, that is a dimension beside the function. An alarm on
# anything else never rings.
METRICS = {
    name: label or None
    for folder in ("shared", "functions")
    for source in (CHECKOUT / folder).rglob("src/**/*.rs")
    for name, label in re.findall(r'(?:counter|histogram)!\(\s*"(\w+)"(?:,\s*"(\w+)")?', source.read_text())
}
# Counted, but never by these: queue-stats does not read the log, and the worker does not subscribe.
NEVER_COUNTED = {
    ("QueueStats", "PostgresErrors"), ("QueueStats", "FallbackPolls"), ("QueueStats", "GapsRepaired"),
    ("QueueStats", "DeliveryLatency"), ("Worker", "RedisErrors"),
}  # fmt: skip
AWS_METRICS = {
    "AWS/Lambda": {"Errors", "Invocations", "Throttles"},
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"},
    "AWS/RDS": {"ACUUtilization"},
    # https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/serverless-metrics-events-redis.html
    "AWS/ElastiCache": {"ThrottledCmds"},
}


def alarms(application, data):
    for template in (application, data):
        for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
            alarm = alarm["Properties"]
            # What these watch runs every minute, whoever uses Runcast: its silence is what they tell.
            if alarm.get("TreatMissingData") != ("breaching" if name in ("SweepMissing", "NotTold") else "notBreaching"):
                yield f"{name} rings when nobody uses Runcast"
            if "AlarmTopicArn" not in json.dumps(alarm.get("AlarmActions")):
                yield f"{name} tells nobody"
            if not json.dumps(alarm["AlarmName"]).rstrip('"}').endswith(f"-{name}"):
                yield f"{name} has another name"
            metrics = [
                metric["MetricStat"]["Metric"] for metric in alarm.get("Metrics", []) if "MetricStat" in metric
            ] or [alarm]
            for metric in metrics:
                # The account's, against its quota: the service, the resource, and two that are always the same.
                if metric["Namespace"] == "AWS/Usage":
                    if "SERVICE_QUOTA" not in json.dumps(alarm["Metrics"]) or len(metric["Dimensions"]) != 4:
                        yield f"{name} does not know the quota"
                    continue
                (dimension,) = metric["Dimensions"]
                if metric["Namespace"] == "Runcast":
                    yield from uncounted(name, metric["MetricName"], None, dimension["Value"]["Ref"])
                elif metric["MetricName"] not in AWS_METRICS[metric["Namespace"]]:
                    yield f"{name} watches {metric['MetricName']}, which nothing counts"
                expected = {"Runcast": "Function", "AWS/Lambda": "FunctionName", "AWS/SQS": "QueueName",
                            "AWS/RDS": "DBClusterIdentifier", "AWS/ElastiCache": "clusterId"}  # fmt: skip
                if dimension["Name"] != expected[metric["Namespace"]]:
                    yield f"{name} watches a dimension that does not exist"
                if metric["Namespace"] == "AWS/SQS" and "QueueName" not in json.dumps(dimension["Value"]):
                    yield f"{name} takes a queue's URL for its name"
    if "QueueStats" in json.dumps(properties(application, "FallbackRate")["Metrics"]):
        yield "FallbackRate is too low: queue-stats has streams, but never polls"
    shown = set()
    for widget in json.loads(properties(application, "Overview")["DashboardBody"]["Fn::Sub"])["widgets"]:
        for first, *rest in widget["properties"]["metrics"]:
            if isinstance(first, dict):
                label, metric = re.search(r"\{Runcast,Function(?:,(\w+))?\} MetricName=(\w+)", first["expression"]).groups()
                function = None
            elif first == "Runcast":
                label, metric, function = None, rest[0], rest[2].strip("${}")
            else:
                continue
            shown.add(metric)
            yield from uncounted("the dashboard", metric, label, function)
    for metric in sorted(set(METRICS) - shown):
        yield f"the dashboard does not show {metric}"


def uncounted(who, metric, label, function):
    if metric not in METRICS or (function, metric) in NEVER_COUNTED:
        yield f"{who} watches {metric}, which {function or 'nothing'} never counts"
    elif METRICS[metric] != label:
        yield f"{who} watches {metric} by other dimensions than it is counted by, and finds nothing"


def cost(application, data):
    # What docs/cost.md counts with.
    formula = (CHECKOUT / "local/src/cost/formula.rs").read_text()
    prices = (CHECKOUT / "local/src/cost/prices.rs").read_text()
    counted = {name: float(number) for name, number in re.findall(r"^const (\w+): f64 = ([\d.]+);", formula, re.M)}
    resources = [
        *Stack(application, NEW).resources().values(),
        *Stack(data, {"Name": "runcast-1c2fa620"}).resources().values(),
    ]
    alarms = [resource["Properties"] for resource in resources if resource["Type"] == "AWS::CloudWatch::Alarm"]
    watched = sum(sum("MetricStat" in metric for metric in alarm.get("Metrics", [])) or 1 for alarm in alarms)
    if watched != counted["ALARM_METRICS"]:
        yield f"the alarms watch {watched} metrics, and are paid for {counted['ALARM_METRICS']:.0f}"
    shown = re.findall(r'\["Runcast","(\w+)","Function","([^"]+)"', properties(application, "Overview")["DashboardBody"]["Fn::Sub"])
    if len(set(shown)) != counted["METRICS_BY_NAME"]:
        yield f"the functions count {len(set(shown))} metrics, and are paid for {counted['METRICS_BY_NAME']:.0f}"
    kinds = [resource["Type"] for resource in resources]
    for kind, name in (("AWS::CloudWatch::Dashboard", "dashboard"), ("AWS::SecretsManager::Secret", "secret")):
        if kinds.count(kind) != 1:
            yield f"one {name} is paid for, and there are {kinds.count(kind)}"
    if len(properties(application, "RateLimit")["Rules"]) != 1:
        yield "a web ACL with one rule is paid for"
    nodes = properties(data, "CacheNodes")
    if f"{nodes['CacheNodeType']} " not in prices or nodes["NumCacheClusters"] != 2:
        yield "two nodes of another type are paid for"
    for given, kind in (("x86_64", "m7i.xlarge"), ("arm64", "m7g.xlarge")):
        managed = Stack(application, {**NEW, "ManagedConcurrency": 64, "Architecture": given}).resources()["Instances"]["Properties"]
        if managed["InstanceRequirements"]["AllowedInstanceTypes"] != [kind] or f"EC2 {kind} " not in prices:
            yield f"instances of another type are paid for than {kind}"
