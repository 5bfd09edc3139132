"""Each right that the templates give is used by a call, which a test makes; each call in the code has its right."""

import re

from templates import CHECKOUT, of_type, values

REDIS = "tests/suite/iam.rs: redis_is_shown_a_new_token_on_each_connection_and_before_one_is_too_old"
POSTGRES = "tests/suite/iam.rs: postgres_is_shown_a_new_token_on_each_connection"
SENT = "tests/suite/producers.rs: pythons_updates_arrive_through_sqs_in_order_and_once"
ANSWERED = "tests/suite/custom_resource.rs: a_creation_and_a_deletion_are_answered_with_success"
FETCHED = "tests/suite/provider.rs: keys_rotate_within_a_minute_and_a_flood_of_names_asks_for_none"
AWS = "AWS calls: "
# What needs the right, by who has it: the test that makes the call, or which of AWS's services does.
USES = {
    ("StatusRole", "elasticache:Connect"): REDIS,
    ("StatusRole", "rds-db:connect"): POSTGRES,
    ("StatusRole", "s3:GetObject"): "tests/suite/artifacts.rs: a_tests_own_artifact_is_signed_and_nothing_else",
    ("QueueStatsRole", "elasticache:Connect"): REDIS,
    ("WorkerRole", "elasticache:Connect"): REDIS,
    ("WorkerRole", "rds-db:connect"): POSTGRES,
    ("WorkerRole", "kms:Decrypt"): AWS + "Lambda reads the encrypted queues",
    ("IngestRole", "elasticache:Connect"): REDIS,
    ("IngestRole", "rds-db:connect"): POSTGRES,
    ("NotifyRole", "lambda:InvokeFunction"): "tests/suite/notify.rs: the_ends_of_runs_are_told_to_a_webhook",
    ("NotifyRole", "events:PutEvents"): "tests/suite/notify.rs: a_sink_that_is_away_loses_nothing_and_holds_up_no_other",
    ("ProducerPolicy", "sqs:SendMessage"): SENT,
    ("ProducerPolicy", "kms:GenerateDataKey"): AWS + "SQS encrypts what is sent",
    ("ProducerPolicy", "kms:Decrypt"): AWS + "SQS encrypts what is sent",
    ("UpdatesOverTls", "sqs:SendMessage"): SENT,
    ("DashboardFilesPolicy", "s3:GetObject"): AWS + "CloudFront reads the dashboard's files",
    ("S3Endpoint", "s3:PutObject"): ANSWERED,
    ("S3Endpoint", "s3:GetObject"): FETCHED,
    ("KeysFilePolicy", "s3:GetObject"): FETCHED,
    ("FetchKeysRole", "s3:PutObject"): AWS + "rehearse.py calls the function's code",
    ("FlowLogsRole", "logs:CreateLogStream"): AWS + "EC2 writes flow logs",
    ("FlowLogsRole", "logs:PutLogEvents"): AWS + "EC2 writes flow logs",
    ("FlowLogsRole", "logs:DescribeLogStreams"): AWS + "EC2 writes flow logs",
    ("FlowLogsRole", "logs:DescribeLogGroups"): AWS + "EC2 writes flow logs",
    ("ProxyRole", "rds-db:connect"): AWS + "the proxy logs in to Aurora",
}  # fmt: skip
# What the sources sign for, and the right it asks for.
SIGNED = {
    "elasticache": "elasticache:Connect", "rds-db": "rds-db:connect",
    "lambda": "lambda:InvokeFunction", "events": "events:PutEvents",
}  # fmt: skip
# Whose code it is that signs.
ROLES = {"shared": {"StatusRole", "WorkerRole", "IngestRole"}, "functions/notify": {"NotifyRole"}}


def calls(application, data):
    given = set()
    for template in (application, data):
        for kind in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy", "AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy", "AWS::EC2::VPCEndpoint"):
            for name, resource in of_type(template, kind).items():
                for part in values(resource["Properties"]):
                    if isinstance(part, dict) and part.get("Effect") == "Allow":
                        actions = part["Action"] if isinstance(part["Action"], list) else [part["Action"]]
                        given |= {(name, action) for action in actions if action != "sts:AssumeRole"}
    for name, action in sorted(given - set(USES)):
        yield f"{name} allows {action}, which nothing is known to call"
    for name, action in sorted(set(USES) - given):
        yield f"{name} does not allow {action}: {USES[name, action]}"
    for use in sorted({use for use in USES.values() if not use.startswith(AWS)}):
        path, test = use.split(": ")
        if f"fn {test}(" not in (CHECKOUT / path).read_text():
            yield f"{path} has no test {test}"
    for folder, roles in ROLES.items():
        for source in (CHECKOUT / folder).rglob("src/**/*.rs"):
            for service in re.findall(r'(?:\.token\(|signed\([^;]*?, )"([a-z-]+)"', source.read_text()):
                if service not in SIGNED:
                    yield f"{source.relative_to(CHECKOUT)} signs for {service}, which no role allows"
                for role in roles:
                    if service in SIGNED and (role, SIGNED[service]) not in given:
                        yield f"{source.relative_to(CHECKOUT)} signs for {service}, which {role} does not allow"
