"""Every two values of two parameters together: refused by a rule of the template, or a stack that AWS's schemas take."""

import json
import random
from functools import cache
from itertools import combinations

from jsonschema import Draft7Validator, validators
from resolve import Refused, Stack
from templates import schema
from updates import FRONTS, NEW, OWN

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/a"
# Beside `AllowedValues`, the default, and both ends of a number.
MORE = {
    "AuthJwks": ['{"keys":[]}', "https://id.example.com/keys"], "AuthIssuer": ["issuer"], "DomainName": ["live.example.com"], "ServiceDomainName": ["service.example.com"], "CertificateArn": [CERTIFICATE],
    "HostedZoneId": ["Z1"], "WebAclArn": ["arn:aws:wafv2:us-east-1:123456789012:global/webacl/acl/a"],
    "AccessLogBucket": ["logs"], "RequestsPerFiveMinutes": ["10"], "ProducerAccounts": ["111111111111", "111111111111,222222222222"],
    "KmsKeyArn": ["arn:aws:kms:us-east-1:123456789012:key/a"], "PermissionsBoundaryArn": ["arn:aws:iam::123456789012:policy/a"],
    "EventBus": ["default", "arn:aws:events:us-east-1:123456789012:event-bus/other"], "WebhookUrl": ["https://example.com/hook"],
    "WebhookSecret": ["whsec_" + "a" * 32], "AlarmTopicArn": ["arn:aws:sns:us-east-1:123456789012:alarms"],
    "OtlpEndpoint": ["https://otlp.example.com"],
    "VpcSubnetIds": ["subnet-a,subnet-b"], "VpcSecurityGroupIds": ["sg-a"], "AvailabilityZones": ["us-east-1b,us-east-1d"],
    "DataSecret": ["arn:aws:secretsmanager:us-east-1:123456789012:secret:runcast-a"], "DataSecretVersion": ["1"],
    "CacheArn": ["arn:aws:elasticache:us-east-1:123456789012:serverlesscache:a"], "DatabaseResourceId": ["cluster-A"],
    "CorsAllowedOrigins": ["https://app.example.com"], "QueueNames": ["mail"], "QueuePrefix": ["{bull}"],
    "ArtifactsBucket": ["artifacts", "artifacts/{org}"], "ManagedInstanceType": ["m7i.2xlarge"], "Name": ["runcast-1c2fa620"],
    **{f"{who}RedisUrl": ["rediss://cache:6379"] for who in ("Streams", "Worker", "Ingest", "Queue")},
    **{f"{who}DatabaseUrl": ["postgres://someone:secret@db:5432/runcast"] for who in ("Streams", "Worker", "Owner")},
    **{f"{who}RedisIamUser": [who.lower()] for who in ("Streams", "Worker", "Ingest")},
}  # fmt: skip
SERVICE = {
    "Image": "runcast-server", "VpcId": "vpc-a", "SecurityGroupIds": "sg-a", "CertificateArn": CERTIFICATE, "AuthJwks": '{"keys":[]}',
    "AuthIssuer": "issuer", "RedisUrl": "rediss://cache:6379", "ServerRedisUser": "server", "CacheArn": MORE["CacheArn"][0],
    "DatabaseEndpoint": "db", "DatabaseResourceId": "cluster-A",
}  # fmt: skip
SECRET = {"DataSecret": MORE["DataSecret"][0], "RedisUrl": "", "DatabaseEndpoint": ""}
MORE |= {name: [SERVICE[name]] for name in SERVICE if name not in MORE}
MORE |= {"BalancerSubnetIds": ["subnet-a,subnet-b"], "TaskSubnetIds": ["subnet-c,subnet-d"], "CloudFrontPrefixListId": ["pl-3b927c52"]}
# What a value of another parameter may ask for.
NAMED = {name: MORE[name][0] for name in ("DomainName", "CertificateArn", "WebhookSecret", "CacheArn", "DatabaseResourceId")}
# Parameters some of whose values do not go together.
REFUSED = {
    frozenset(names)
    for first, *others in (
        ("Front", "AccessLogBucket", "ApiAccessLogs", "DomainName", "HostedZoneId", "RequestsPerFiveMinutes", "ServiceDomainName", "WebAclArn"),
        ("RequestsPerFiveMinutes", "ApiAccessLogs", "WebAclArn"), ("ApiAccessLogs", "AccessLogBucket", "ServiceDomainName"),
        ("CertificateArn", "DomainName", "HostedZoneId"), ("DomainName", "HostedZoneId"), ("Data", "QueueNames"),
        ("WebhookSecret", "WebhookUrl"), ("CacheArn", "ServerRedisUser"),
        ("DataSecret", "DatabaseEndpoint", "DatabaseResourceId", "RedisUrl"),
    )
    for names in ((first, other) for other in others)
}  # fmt: skip
# How often values are drawn for the other parameters until no rule refuses them.
TRIES = 40


def candidates(template):
    """The values of each parameter that stand for all others."""
    for name, parameter in template["Parameters"].items():
        given = [str(value) for value in parameter.get("AllowedValues", [])] + MORE.get(name, [])
        given += [str(parameter[key]) for key in ("Default", "MinValue") if key in parameter]
        if parameter["Type"] == "Number" and "AllowedValues" not in parameter:
            given.append(str(min(parameter.get("MaxValue", 1000), 1000)))
        yield name, list(dict.fromkeys(value for value in given if name != "RequestsPerFiveMinutes" or value != "1"))


def check(application, data, service):
    bases = (OWN, NEW, {**OWN, "VpcSubnetIds": "", "VpcSecurityGroupIds": ""})
    fronts = [{"Front": front, **named} for front in FRONTS[1:] for named in ({}, NAMED)]
    yield from covered("the application", application, [{**base, **front} for base in bases for front in ({}, *fronts)])
    yield from covered("the data", data, ({"Name": "runcast-1c2fa620"},))
    yield from covered("the service", service, (SERVICE, {**SERVICE, **SECRET}))


def covered(what, template, bases):
    """Rows of parameters until each pair of values was in one that no rule refuses, or in none that one takes."""
    chance = random.Random(1)
    choices = dict(candidates(template))
    left = {frozenset((one, other)) for one, other in combinations(((n, v) for n in choices for v in choices[n]), 2) if one[0] != other[0]}
    rows = refusals = 0
    found = {}
    while left:
        pair = min(left, key=sorted)
        row = None
        for attempt in range(TRIES):
            tried = {**chance.choice(bases)}
            if attempt < TRIES // 2:
                tried |= {name: chance.choice(choices[name]) for name in choices if chance.random() < 0.5}
            tried |= dict(pair)
            try:
                stack = Stack(template, tried)
            except Refused as refused:
                found[str(refused)] = tried
                break
            if not stack.broken:
                row = stack
                break
        if row is None:
            refusals += 1
            if frozenset(dict(pair)) not in REFUSED:
                found[f"{sorted(pair)} never go together: {stack.broken}"] = tried
            left.discard(pair)
            continue
        rows += 1
        full = {name: tried.get(name, str(template["Parameters"][name].get("Default"))) for name in choices}
        left -= {frozenset(each) for each in combinations(full.items(), 2)}
        for message in wrong(row):
            found.setdefault(message, tried)
    print(f"  {what}: {rows} stacks have every pair of values; {refusals} pairs a rule refuses")
    for message, tried in found.items():
        yield f"{message}, with {tried}"


def wrong(stack):
    """What of a stack is not made, or does not fit AWS's schema."""
    try:
        resources, outputs = stack.resources(), stack.outputs()
    except (Refused, IndexError, KeyError) as refused:
        yield f"{refused}"
        return
    for name, resource in resources.items():
        yield from (f"{name}.{message}" for message in misfits(resource["Type"], json.dumps(resource["Properties"])))
    for name, value in outputs.items():
        if value == "":
            yield f"the output {name} is empty"


@cache
def misfits(resource_type, properties):
    errors = Taken(schema(resource_type)).iter_errors(plain(json.loads(properties)))
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]


def plain(node):
    """CloudFormation takes text for numbers and switches."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    if node in ("true", "false"):
        return node == "true"
    return int(node) if isinstance(node, str) and node.isdigit() else node


# Also the other way round. What other resources are called is not known yet.
TEXT = Draft7Validator.TYPE_CHECKER.redefine("string", lambda _, value: isinstance(value, (str, int, float)))
UNKNOWN = {keyword: lambda *_: () for keyword in ("pattern", "format", "minLength", "maxLength")}
Taken = validators.extend(Draft7Validator, UNKNOWN, type_checker=TEXT)
