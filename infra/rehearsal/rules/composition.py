"""How the templates fit together: parameters, the nested stack, names."""

import json
import re

from resolve import Stack
from templates import custom_names, refers, values
from updates import NEW, OWN

SECRETS = {
    "AuthJwks", "IngestRedisUrl", "OwnerDatabaseUrl", "QueueRedisUrl", "StreamsDatabaseUrl", "StreamsRedisUrl",
    "WebhookSecret", "WebhookUrl", "WorkerDatabaseUrl", "WorkerRedisUrl",
}  # fmt: skip
# Of an account, whatever the region.
GLOBAL = ("AWS::CloudFront::", "AWS::IAM::", "AWS::S3::Bucket", "AWS::CloudWatch::Dashboard")
ACL = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/acl/a"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/a"
# What a deployment must say before it begins: parameters, in a region, that do not go with each other.
REFUSED = [
    ({name: ""}, "us-east-1", f"needs {name}")
    for name in ("StreamsRedisUrl", "WorkerRedisUrl", "StreamsDatabaseUrl", "WorkerDatabaseUrl", "OwnerDatabaseUrl")
] + [
    ({"VpcSecurityGroupIds": ""}, "us-east-1", "need each other"),
    ({"VpcSubnetIds": ""}, "us-east-1", "need each other"),
    ({"VpcSubnetIds": "", "VpcSecurityGroupIds": "", "ManagedConcurrency": 64}, "us-east-1", "ManagedConcurrency needs"),
    ({"DatabaseIamAuth": "true"}, "us-east-1", "DatabaseIamAuth needs"),
    ({"StreamsRedisIamUser": "streams"}, "us-east-1", "need CacheArn"),
    ({"WorkerRedisIamUser": "worker"}, "us-east-1", "need CacheArn"),
    ({"IngestRedisIamUser": "ingest"}, "us-east-1", "need CacheArn"),
    ({"Data": "new", "QueueNames": "mail"}, "us-east-1", "QueueNames needs Data=own"),
    ({"RequestsPerFiveMinutes": 100}, "us-east-1", "needs Front=cloudfront"),
    ({"RequestsPerFiveMinutes": 100, "Front": "cloudfront"}, "eu-west-1", "lives in us-east-1"),
    ({"RequestsPerFiveMinutes": 1, "Front": "cloudfront"}, "us-east-1", "at least 10"),
    ({"RequestsPerFiveMinutes": 9, "Front": "cloudfront"}, "us-east-1", "at least 10"),
    ({"DomainName": "live.example.com", "Front": "cloudfront"}, "us-east-1", "DomainName needs CertificateArn"),
    ({"DomainName": "live.example.com", "CertificateArn": CERTIFICATE}, "us-east-1", "DomainName needs Front"),
    ({"HostedZoneId": "Z1"}, "us-east-1", "HostedZoneId needs"),
    ({"WebAclArn": ACL}, "us-east-1", "WebAclArn needs Front"),
    ({"WebAclArn": ACL, "Front": "cloudfront", "RequestsPerFiveMinutes": 100}, "us-east-1", "one web ACL"),
    ({"ServiceDomainName": "service.example.com"}, "us-east-1", "ServiceDomainName needs"),
    ({"AccessLogBucket": "logs"}, "us-east-1", "AccessLogBucket needs"),
    ({"ApiAccessLogs": "true"}, "us-east-1", "ApiAccessLogs needs"),
    ({"WebhookUrl": "https://example.com/hook"}, "us-east-1", "needs WebhookSecret"),
]  # fmt: skip


def parameters(application, data):
    for name in SECRETS:
        if application["Parameters"][name].get("NoEcho") is not True:
            yield f"{name} can be read by whoever may describe the stack"
    for template in (application, data):
        used = json.dumps([template["Resources"], template.get("Conditions"), template.get("Globals")])
        for name in template["Parameters"]:
            if f'"Ref": "{name}"' not in used and f"${{{name}}}" not in used:
                yield f"the parameter {name} does nothing"
    if application["Parameters"]["WorkerConcurrency"]["MinValue"] < 2:
        yield "an event source takes a maximum concurrency of 2 at least"
    for template in (application, data):
        prefix = template["Parameters"]["QueuePrefix"]["AllowedPattern"]
        if not all(re.fullmatch(prefix, text) for text in ("bull", "{bull}")) or re.fullmatch(prefix, "*"):
            yield "QueuePrefix refuses {bull}, which BullMQ needs in a cluster, or takes every key"
    for given, region, wanted in REFUSED:
        stack = Stack(application, {**(NEW if given.get("Data") == "new" else OWN), **given}, region)
        if not any(wanted in said for said in stack.broken):
            yield f"{given} is taken, and fails later: {wanted}"
    for given in (OWN, NEW):
        yield from Stack(application, given).broken
    # The alarm takes more than one poll in five seconds for a fault.
    if application["Parameters"]["FallbackPollDegradedSeconds"]["MaxValue"] >= 5:
        yield "the alarm FallbackRate does not ring when Redis is away"


def nested(application, data):
    stack = application["Resources"]["NewDataStack"]
    if (stack.get("DeletionPolicy"), stack.get("UpdateReplacePolicy")) != ("RetainExceptOnCreate", "Retain"):
        yield "the data goes with the application"
    if application["Resources"]["DashboardFiles"].get("DeletionPolicy") != "RetainExceptOnCreate":
        yield "a bucket with files in it cannot be deleted, nor then the stack"
    for template in (application, data):
        for name, resource in template["Resources"].items():
            # A version goes with its function.
            if resource.get("DeletionPolicy") == "Retain" and resource["Type"] != "AWS::Lambda::Version":
                yield f"{name} stays of a first deployment that failed, and bars the next"
            if resource["Properties"].get("DeletionProtection") is True:
                yield f"{name} cannot be deleted by the roll-back of a first deployment"
    if "AWS::StackId" not in json.dumps(stack["Properties"]["Parameters"]["Name"]):
        yield "the data's names are taken, where an earlier stack of this name has left its data"
    given = set(stack["Properties"]["Parameters"])
    required = {name for name, parameter in data["Parameters"].items() if "Default" not in parameter}
    if not required <= given <= set(data["Parameters"]):
        yield f"the data's parameters do not fit: {sorted(given ^ set(data['Parameters']))}"
    taken = set()
    for part in values(application):
        if isinstance(part, dict) and isinstance(part.get("Fn::GetAtt"), list) and part["Fn::GetAtt"][0] == "NewDataStack":
            taken.add(part["Fn::GetAtt"][1].removeprefix("Outputs."))
    # infra/service.yaml takes these beside.
    if taken | {"VpcId", "ServerRedisUser"} != set(data["Outputs"]):
        yield f"the data's outputs do not fit: {sorted(taken ^ set(data['Outputs']))}"


def names(application, data):
    # What has a name cannot be there twice. The data stays when its stack goes, and then its names do.
    for template, prefix in ((application, "AWS::StackName"), (data, "Name")):
        for resource in template["Resources"]:
            for name in custom_names(template, resource).values():
                # What the operator names is the operator's.
                if prefix not in refers(name) and name not in [{"Ref": each} for each in template["Parameters"]]:
                    yield f"{resource} has a name that another stack's may have"
        for resource_name, resource in template["Resources"].items():
            if resource["Type"].startswith(GLOBAL):
                for name in names_of(resource["Properties"]):
                    if not {prefix, "AWS::Region"} <= refers(name):
                        yield f"{resource_name} has a name that the same stack has in another region"


def names_of(node):
    """The names in the properties of a resource."""
    for part in values(node):
        for key, value in part.items() if isinstance(part, dict) else ():
            # A name, and not that of a policy within a role, of a setting, or what is named.
            if key in ("Name", "BucketName", "RoleName", "ManagedPolicyName", "UserName", "DashboardName") and "Value" not in part:
                yield value
