"""What no linter knows of these templates. Each rule yields what is wrong, in a sentence."""

import json
import re

from calls import calls
from resolve import Refused, Stack
from templates import CHECKOUT, custom_names, of_type, refers, values
from updates import NEW, OWN, updates

STREAMS = {"TestStatus": "test-status", "JobStatus": "job-status", "QueueStats": "queue-stats"}
FUNCTIONS = {*STREAMS, "Worker", "Ingest", "Notify", "Migrate", "FetchKeys"}
SECRETS = {
    "AuthJwks", "IngestRedisUrl", "OwnerDatabaseUrl", "QueueRedisUrl", "StreamsDatabaseUrl", "StreamsRedisUrl",
    "WebhookSecret", "WebhookUrl", "WorkerDatabaseUrl", "WorkerRedisUrl",
}  # fmt: skip
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
DATABASE_VARIABLES = {"DATABASE_URL", "DATABASE_IAM_AUTH", "DATABASE_CA_FILE", "DATABASE_IDLE_SECONDS", "DATABASE_PROXY"}
STATUS_VARIABLES = DATABASE_VARIABLES | {"ARTIFACTS_BUCKET"}
NOTIFY_VARIABLES = {"WORKER_FUNCTION", "EVENT_BUS", "WEBHOOK_URL", "WEBHOOK_SECRET", "NOTIFY_CHANGES", "RUST_LOG"}
QUEUE_VARIABLES = {"QUEUE_REDIS_URL", "QUEUE_NAMES", "QUEUE_PREFIX", "RUNNING_CAPACITY", "QUEUED_CAPACITY"}
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Clusters.RBAC.html#Access-string
ACCESS_WORD = r"on|resetchannels|-@all|\+[a-z]+(\|[a-z]+)?|&[a-z-]+:\*|(%R|%W|%RW)?~[\w${}-]+:\*"
# Of an account, whatever the region.
GLOBAL = ("AWS::CloudFront::", "AWS::IAM::", "AWS::S3::Bucket", "AWS::CloudWatch::Dashboard")
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/a"
ACL = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/acl/a"
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
# A stream ends this long before its function's time limit.
MARGIN_SECONDS = 30


def check(application, data, only=None):
    """All that is wrong with the two templates, the first as SAM translates it."""
    found = []
    for rule in (functions, urls, queues, schema, notify, keys, api, cloudfront, permissions, parameters, alarms,
                 nested, names, network, cache, database, updates, calls, cost):  # fmt: skip
        name = rule.__name__
        if only not in (None, name):
            continue
        try:
            found += [f"{name}: {message}" for message in rule(application, data)]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, Refused) as error:
            found.append(f"{name}: something is missing or of another form: {error!r}")
    return found


def properties(template, name):
    return template["Resources"][name]["Properties"]


def functions(application, _):
    existing = of_type(application, "AWS::Lambda::Function")
    if set(existing) != FUNCTIONS:
        yield f"the functions are {sorted(existing)}"
    limits = application["Parameters"]
    for name, resource in existing.items():
        function = resource["Properties"]
        is_bootstrap = (function["Runtime"], function["Handler"]) == ("provided.al2023", "bootstrap")
        if not is_bootstrap and name != "FetchKeys":
            yield f"{name} is not a bootstrap on Amazon Linux 2023"
        if function["Architectures"] != [{"Ref": "Architecture"}]:
            yield f"{name} does not take the architecture from the parameter"
        if "TracingConfig" not in function:
            yield f"{name} cannot be traced"
        if "Keyed" not in json.dumps(function.get("KmsKeyArn")):
            yield f"{name} keeps its variables by another key than the one that was given"
        group = function["LoggingConfig"]["LogGroup"].get("Ref")
        if "RetentionInDays" not in properties(application, group):
            yield f"{name} keeps its logs for ever"
    for name in ("Worker", "Ingest", "Migrate"):
        if properties(application, name).get("VpcConfig", {}).get("Fn::If", [None])[0] != "Attached":
            yield f"{name} does not reach the data"
    status = properties(application, "TestStatus")["Environment"]["Variables"]
    shared = {variable: status[variable] for variable in set(status) - STATUS_VARIABLES}
    for name in STREAMS:
        function = properties(application, name)
        if function["Timeout"] < limits["StreamWindowSeconds"]["MaxValue"] + MARGIN_SECONDS:
            yield f"{name} is killed before its streams end"
        variables = function["Environment"]["Variables"]
        own = {variable for variable in variables if re.match(r"DATABASE_|ARTIFACTS_|QUEUE_|\w+_CAPACITY$", variable)}
        if own != (QUEUE_VARIABLES if name == "QueueStats" else STATUS_VARIABLES):
            yield f"{name} gets what it does not use, secrets maybe, or lacks something: {sorted(own)}"
        if {variable: variables[variable] for variable in set(variables) - own} != shared:
            yield f"{name} is configured otherwise than the others"
        if "StreamsReserved" not in json.dumps(function["ReservedConcurrentExecutions"]):
            yield f"{name} cannot reserve concurrency"
        if "Managed" not in json.dumps(function["MemorySize"]):
            yield f"{name} has too little memory on managed instances, which have 2048 MB at least"
        if function["VpcConfig"]["Fn::If"][0] != "StreamsAttached":
            yield f"{name} has two networks on managed instances: its own, and the capacity provider's"
        if "Managed" not in json.dumps(function.get("FunctionScalingConfig")):
            yield f"{name} grows on managed instances as far as nobody said"
        if "Managed" not in json.dumps(function["PublishToLatestPublished"]):
            yield f"{name} publishes nothing that managed instances could run"
    # Old and new versions beside each other, a vCPU for each environment.
    versions, least = 2 * len(STREAMS), limits["ManagedMaxEnvironments"]["MinValue"]
    vcpus, most = limits["ManagedMaxVcpus"], limits["ManagedMaxEnvironments"]["Default"]
    if vcpus["MinValue"] < versions * least or vcpus["Default"] < versions * most:
        yield "a deployment waits for ever: managed instances cannot hold old and new versions"
    if "AllowedInstanceTypes" not in properties(application, "Instances")["InstanceRequirements"]:
        yield "managed instances are of any price"
    if "NewProxy" not in json.dumps(status["DATABASE_PROXY"]):
        yield "what is kept on a connection is asked for on another: RDS Proxy shares them"
    if properties(application, "JobStatus")["Environment"] != properties(application, "TestStatus")["Environment"]:
        yield "TestStatus and JobStatus are configured differently"
    ingest = properties(application, "Ingest")["Environment"]["Variables"]
    worker = properties(application, "Worker")["Environment"]["Variables"]
    for variable in ("AUTH_JWKS", "AUTH_ISSUER", "AUTH_AUDIENCE", "CONNECTS_PER_MINUTE", "AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if ingest.get(variable) != shared[variable]:
            yield f"Ingest has another {variable} than the streams"
    for variable in DATABASE_VARIABLES | {"STALLED_AFTER_SECONDS", "OTEL_EXPORTER_OTLP_ENDPOINT"}:
        if ingest.get(variable) != worker[variable]:
            yield f"Ingest has another {variable} than the worker"
    if "IngestReserved" not in json.dumps(properties(application, "Ingest").get("ReservedConcurrentExecutions")):
        yield "a flood of updates takes every environment, and all of Postgres's connections, and nothing can limit it"
    if shared.get("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH") != "true":
        yield "behind API Gateway every path would begin with the stage, and none be found"


def urls(application, _):
    auth = {"Fn::If": ["CloudFront", "AWS_IAM", "NONE"]}
    principal = {"Fn::If": ["CloudFront", "cloudfront.amazonaws.com", "*"]}
    for name in STREAMS:
        url = application["Resources"][f"{name}Url"]
        if url["Properties"]["InvokeMode"] != "RESPONSE_STREAM":
            yield f"{name}'s URL collects the answer before it sends it"
        if url["Properties"]["AuthType"] != auth:
            yield f"{name}'s URL is open behind CloudFront, or closed without"
        grants = [
            grant
            for grant in of_type(application, "AWS::Lambda::Permission").values()
            if grant["Properties"]["FunctionName"] == {"Ref": name} and grant.get("Condition") == "FunctionUrls"
        ]
        by_action = {grant["Properties"]["Action"]: grant["Properties"] for grant in grants}
        of_url = by_action.get("lambda:InvokeFunctionUrl", {})
        if of_url.get("FunctionUrlAuthType") != auth or of_url.get("Principal") != principal:
            yield f"{name}'s URL answers 403: nobody may lambda:InvokeFunctionUrl"
        through_url = by_action.get("lambda:InvokeFunction", {})
        if through_url.get("Principal") != principal:
            yield f"{name}'s URL answers 403: nobody may lambda:InvokeFunction"
        elif through_url.get("InvokedViaFunctionUrl") is not True:
            yield f"{name} can be invoked by anybody, without its URL"
        for grant in by_action.values():
            if "distribution/${Distribution}" not in json.dumps(grant.get("SourceArn")):
                yield f"{name} lets in every distribution of every account"


    # Whoever sends updates signs nothing: its token is what lets it in.
    if properties(application, "IngestUrl")["AuthType"] != "NONE":
        yield "Ingest's URL answers 403 to whoever does not hash its body"
    grants = [
        grant["Properties"]
        for grant in of_type(application, "AWS::Lambda::Permission").values()
        if grant["Properties"]["FunctionName"] == {"Ref": "Ingest"} and grant.get("Condition") == "FunctionUrls"
    ]
    by_action = {grant["Action"]: grant for grant in grants}
    if by_action.get("lambda:InvokeFunctionUrl", {}).get("FunctionUrlAuthType") != "NONE":
        yield "Ingest's URL answers 403: nobody may lambda:InvokeFunctionUrl"
    if by_action.get("lambda:InvokeFunction", {}).get("InvokedViaFunctionUrl") is not True:
        yield "Ingest's URL answers 403, or it can be invoked by anybody, without its URL"


def queues(application, _):
    updates, dead = properties(application, "Updates"), properties(application, "DeadUpdates")
    worker = properties(application, "Worker")
    for name, queue in (("Updates", updates), ("DeadUpdates", dead)):
        if queue.get("FifoQueue") is not True:
            yield f"{name} keeps no order"
        if (queue.get("DeduplicationScope"), queue.get("FifoThroughputLimit")) != ("messageGroup", "perMessageGroupId"):
            yield f"{name} is not in high-throughput mode"
        if queue.get("SqsManagedSseEnabled") != {"Fn::If": ["Keyed", {"Ref": "AWS::NoValue"}, True]}:
            yield f"{name} is not encrypted"
        if "Keyed" not in json.dumps(queue.get("KmsMasterKeyId")):
            yield f"{name} is not encrypted by the key that was given"
    if min(updates["VisibilityTimeout"], dead.get("VisibilityTimeout", 30)) <= worker["Timeout"]:
        yield "a message shows again while the worker may still have it"
    if updates["VisibilityTimeout"] > 60:
        yield "what the worker hands back waits for minutes, and the viewers with it"
    if updates["RedrivePolicy"]["deadLetterTargetArn"] != {"Fn::GetAtt": ["DeadUpdates", "Arn"]}:
        yield "what fails for ever blocks its group for ever"
    tries = updates["RedrivePolicy"]["maxReceiveCount"]
    if tries * updates["VisibilityTimeout"] < 12 * 3600:
        yield "an outage of Postgres of half a day fills the dead-letter queue, and updates lose their order"
    if dead["MessageRetentionPeriod"] < updates["MessageRetentionPeriod"]:
        yield "dead letters go before anyone reads them: their age counts from the first sending"
    policies = of_type(application, "AWS::SQS::QueuePolicy").values()
    covered = [queue["Ref"] for policy in policies for queue in policy["Properties"]["Queues"]]
    if sorted(covered) != ["DeadUpdates", "Updates"]:
        yield "a queue takes requests without TLS"
    for policy in policies:
        (queue,) = policy["Properties"]["Queues"]
        statements = [part for part in values(policy["Properties"]["PolicyDocument"]) if isinstance(part, dict) and "Effect" in part]
        if statements[0]["Effect"] != "Deny" or statements[0]["Condition"] != {"Bool": {"aws:SecureTransport": "false"}}:
            yield "a queue takes requests without TLS"
        for statement in statements:
            if statement["Resource"] != {"Fn::GetAtt": [queue["Ref"], "Arn"]}:
                yield "SQS refuses a policy about another queue, or about two"
            if statement["Effect"] == "Allow" and statement["Action"] != "sqs:SendMessage":
                yield "who sends updates may do more, or less"
    mappings = {name: mapping["Properties"] for name, mapping in of_type(application, "AWS::Lambda::EventSourceMapping").items()}
    for mapping in mappings.values():
        if mapping["BatchSize"] > 10:
            yield "a FIFO queue gives ten messages at most"
        if "MaximumBatchingWindowInSeconds" in mapping:
            yield "a FIFO queue knows no batching window"
        if mapping.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield "the worker's answer is not read: what it hands back would be deleted"
        if "MaximumConcurrency" not in mapping.get("ScalingConfig", {}):
            yield "a burst of updates takes the account's whole concurrency, and all of Postgres's connections"
    if mappings["WorkerUpdates"].get("Enabled") is False or mappings["WorkerDeadUpdates"].get("Enabled") is not False:
        yield "updates are not taken, or what was given up is tried for ever, among what is new"
    reserved = {"Fn::If": ["WorkerReserved", {"Ref": "WorkerConcurrency"}, {"Ref": "AWS::NoValue"}]}
    if worker.get("ReservedConcurrentExecutions") != reserved:
        yield "streams can fill every environment until updates are dead letters, or a batch finds none"


def schema(application, _):
    migration = properties(application, "Schema")
    limit = properties(application, "Migrate")["Timeout"]
    if not limit <= migration.get("ServiceTimeout", 3600) <= 900:
        yield "CloudFormation waits for the migration longer, or less long, than it can take"
    if "MigrateVersion" not in json.dumps(migration["Version"]):
        yield "new code does not migrate: nothing of the resource changes"
    for name in (*STREAMS, "Worker", "Ingest"):
        if "Schema" not in json.dumps(application["Resources"][name].get("DependsOn", [])):
            yield f"{name} is replaced before the schema is there"
    if not {"OwnerDatabaseUrl", "NewDataStack"} <= refers(migration.get("Database")):
        yield "another database, or a restored one, is not migrated: nothing of the resource changes"
    if "@" not in json.dumps(migration.get("Database")):
        yield "the owner's password stands in the stack's events"
    targets = [rule["Properties"]["Targets"][0] for rule in of_type(application, "AWS::Events::Rule").values()]
    for target in targets:
        if target["Arn"] not in [{"Fn::GetAtt": [name, "Arn"]} for name in FUNCTIONS]:
            yield f"a schedule invokes a version of the past, with the variables of then: {target['Arn']}"
    if not any('"action":"prune"' in json.dumps(target).replace("\\", "") for target in targets):
        yield "nothing prunes"
    if not any('"sweep":true' in json.dumps(target).replace("\\", "") for target in targets):
        yield "nothing sweeps"


def notify(application, _):
    function = properties(application, "Notify")
    if "VpcConfig" in function:
        yield "whoever is told is outside, and so is Lambda's API: the VPC of new data has no way out"
    variables = function["Environment"]["Variables"]
    if set(variables) != NOTIFY_VARIABLES or variables["WORKER_FUNCTION"] != {"Ref": "Worker"}:
        yield f"notify gets what it does not use, secrets maybe, or lacks something: {sorted(variables)}"
    # What speaks of a resource that is not there fails the deployment.
    for name, resource in application["Resources"].items():
        of_notify = name.startswith("Notify") or re.search(r'"Notify\w*"|\$\{Notify', json.dumps(resource))
        if of_notify and resource.get("Condition") != "Told":
            yield f"{name} is there also where nobody is told"
    role = properties(application, "NotifyRole")
    bus = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${EventBus}"
    wanted = [
        ("lambda:InvokeFunction", {"Fn::GetAtt": ["Worker", "Arn"]}),
        ("events:PutEvents", {"Fn::If": ["BusByArn", {"Ref": "EventBus"}, {"Fn::Sub": bus}]}),
    ]
    parts = [part for part in values(role["Policies"]) if isinstance(part, dict)]
    allowed = [(part["Action"], part["Resource"]) for part in parts if part.get("Effect") == "Allow"]
    if allowed != wanted or "VPCAccess" in json.dumps(role["ManagedPolicyArns"]):
        yield "notify may do more than invoke the worker and put events on the bus, or less"
    if (properties(application, "NotifyEventInvokeConfig")["MaximumRetryAttempts"],
            properties(application, "NotifyEventInvokeConfig")["MaximumEventAgeInSeconds"]) != (0, 60):  # fmt: skip
        yield "what fails is tried again beside the next minute's, and told twice"
    rules = of_type(application, "AWS::Events::Rule").values()
    rules = [rule["Properties"] for rule in rules if '["Notify", "Arn"]' in json.dumps(rule)]
    if [(rule["ScheduleExpression"], rule.get("State", "ENABLED")) for rule in rules] != [("rate(1 minute)", "ENABLED")]:
        yield "nothing tells anybody, or not each minute"
    if function.get("ReservedConcurrentExecutions") != {"Fn::If": ["WorkerReserved", 1, {"Ref": "AWS::NoValue"}]}:
        yield "streams can fill every environment until nobody is told, or two tell the same"


def keys(application, data):
    function = properties(application, "FetchKeys")
    if "VpcConfig" in function:
        yield "whoever serves keys is outside: the VPC of new data has no way out"
    address = {"Fn::Sub": "https://${KeysFile.RegionalDomainName}/jwks.json"}
    for name in (*STREAMS, "Ingest"):
        variables = properties(application, name)["Environment"]["Variables"]
        if variables["AUTH_JWKS"] != {"Fn::If": ["KeysFetched", address, {"Ref": "AuthJwks"}]}:
            yield f"{name} asks for keys where its VPC has no way to"
    read, _ = properties(application, "KeysFilePolicy")["PolicyDocument"]["Statement"]
    if read.get("Condition") != {"StringEquals": {"aws:SourceVpce": {"Fn::GetAtt": ["NewDataStack", "Outputs.S3EndpointId"]}}}:
        yield "S3 refuses a policy for the public, or the VPC"
    ways = [way["Resource"]["Fn::Sub"] for way in properties(data, "S3Endpoint")["PolicyDocument"]["Statement"] if way["Action"] == "s3:GetObject"]
    if not any(way.endswith(":::*/jwks.json") for way in ways):
        yield "the way to S3 lets no keys through"


def api(application, _):
    gateway = properties(application, "Api")
    (stage,) = of_type(application, "AWS::ApiGateway::Stage").values()
    form = stage["Properties"]["AccessLogSetting"]["Fn::If"][1]["Format"]
    if not all(re.fullmatch(r"[a-zA-Z]+(\.[a-zA-Z]+)?", word) and "uery" not in word for word in re.findall(r"\$context\.([\w.]+)", form)):
        yield "access logs keep the viewers' tokens"
    if gateway["EndpointConfiguration"]["Types"] != ["REGIONAL"]:
        yield "an API at the edge closes connections that are silent for 30 s"
    for name, deployment in of_type(application, "AWS::ApiGateway::Deployment").items():
        if not re.fullmatch(r"ApiDeployment[0-9a-f]{10}", name):
            yield f"{name} is a snapshot whose name stays: what changes in the API never goes live"
        if "StageName" in deployment["Properties"]:
            yield "the API has a second stage, without limits"
    paths = gateway["Body"]["paths"]
    served = {f"/api/{path}/{{proxy+}}": name for name, path in STREAMS.items()}
    served |= {path: "JobStatus" for path in ("/api/runs", "/api/runs/{proxy+}")}
    served |= {path: "Ingest" for path in ("/api/updates", "/api/updates/{proxy+}")}
    if set(paths) != set(served):
        yield f"the API's paths are {sorted(paths)}"
    if "application/json" not in gateway["Body"].get("x-amazon-apigateway-binary-media-types", []):
        yield "updates that are packed by gzip come as broken text"
    for path, name in served.items():
        call = paths[path]["x-amazon-apigateway-any-method"]["x-amazon-apigateway-integration"]
        uri = json.dumps(call["uri"])
        if call.get("responseTransferMode") != "STREAM":
            yield f"{path} is collected before it is sent"
        if "/2021-11-15/" not in uri or "/response-streaming-invocations" not in uri or f"${{{name}.Arn}}" not in uri:
            yield f"{path} does not call InvokeWithResponseStream of {name}"
        if call["httpMethod"] != "POST" or call["type"] != "aws_proxy":
            yield f"{path} does not call Lambda"
        if call["timeoutInMillis"] != 900000:
            yield f"{path} ends early"


def cloudfront(application, _):
    config = properties(application, "Distribution")["DistributionConfig"]
    if "EdgeNamed" not in json.dumps(config.get("Aliases")) or "EdgeNamed" not in json.dumps(config.get("ViewerCertificate")):
        yield "the cookie of an app does not come along: CloudFront has no name of the app's"
    if config["Logging"]["Fn::If"][1].get("IncludeCookies") is not False:
        yield "access logs keep the viewers' tokens"
    if config["HttpVersion"] != "http2and3":
        yield "six streams fill a browser's HTTP/1.1 connections"
    kept = {answer["ErrorCode"]: answer.get("ErrorCachingMinTTL") for answer in config.get("CustomErrorResponses", [])}
    for code in (405, 500, 502, 503, 504):
        if kept.get(code) != 0:
            yield f"one viewer's {code} is everybody's for 10 s"
    origins = {origin["Id"]: origin for origin in config["Origins"]}
    if set(origins) != {"dashboard", "updates", *STREAMS.values()}:
        yield f"the origins are {sorted(origins)}"
    for name in ("updates", *STREAMS.values()):
        if origins[name]["DomainName"].get("Fn::If", [])[:2] != ["Served", {"Ref": "ServiceDomainName"}]:
            yield f"{name} does not move to the service with the others"
    heartbeat = application["Parameters"]["StreamHeartbeatSeconds"]["MaxValue"]
    for name, path in STREAMS.items():
        origin = origins[path]
        if f"{name}Url" not in json.dumps(origin["DomainName"]):
            yield f"{path} goes to another function"
        # The service answers to whoever has a token, as ingest does.
        signed = {"Fn::If": ["Served", {"Ref": "AWS::NoValue"}, {"Fn::GetAtt": ["FunctionAccess", "Id"]}]}
        if origin.get("OriginAccessControlId") != signed:
            yield f"{path} answers 403: CloudFront does not sign"
        timeout = origin["CustomOriginConfig"]["OriginReadTimeout"]
        if not 2 * heartbeat <= timeout <= 120:
            yield f"{path} is cut between two pings, or CloudFront refuses the timeout"
        if origin["CustomOriginConfig"]["OriginProtocolPolicy"] != "https-only":
            yield f"{path} is asked without TLS"
    behaviours = {behaviour["PathPattern"]: behaviour for behaviour in config["CacheBehaviors"]}
    for path in STREAMS.values():
        behaviour = behaviours[f"/api/{path}/*"]
        if behaviour["TargetOriginId"] != path:
            yield f"{path} goes to {behaviour['TargetOriginId']}"
        if behaviour.get("Compress") is not False:
            yield f"{path} is compressed, which holds frames back"
        if behaviour.get("CachePolicyId") != CACHING_DISABLED:
            yield f"{path} is cached"
        if behaviour.get("OriginRequestPolicyId") != ALL_VIEWER_EXCEPT_HOST:
            yield f"{path} gets no query, or a host that no URL answers to"
        if "POST" not in behaviour["AllowedMethods"]:
            yield f"{path} cannot be closed"
        if behaviour["ViewerProtocolPolicy"] != "https-only":
            yield f"{path} takes tokens in the clear"
        if "ViewerRequests" not in json.dumps(behaviour.get("FunctionAssociations")):
            yield f"{path} answers 403 to a beacon, which cannot sign its body"
    runs = behaviours["/api/runs*"]
    if runs["TargetOriginId"] != "job-status" or runs["ViewerProtocolPolicy"] != "https-only":
        yield "past runs go to another function, or take tokens in the clear"
    if runs.get("CachePolicyId") != CACHING_DISABLED or runs.get("OriginRequestPolicyId") != ALL_VIEWER_EXCEPT_HOST:
        yield "past runs are cached, whoever asks, or get no query"
    updates, behaviour = origins["updates"], behaviours["/api/updates*"]
    if "IngestUrl" not in json.dumps(updates["DomainName"]) or behaviour["TargetOriginId"] != "updates":
        yield "updates go to another function"
    if "OriginAccessControlId" in updates:
        yield "updates answer 403 to whoever does not hash its body"
    if updates["CustomOriginConfig"]["OriginProtocolPolicy"] != "https-only" or behaviour["ViewerProtocolPolicy"] != "https-only":
        yield "updates take tokens in the clear"
    if behaviour.get("CachePolicyId") != CACHING_DISABLED or behaviour.get("OriginRequestPolicyId") != ALL_VIEWER_EXCEPT_HOST:
        yield "updates lose their token, or have a host that no URL answers to"
    if "POST" not in behaviour["AllowedMethods"]:
        yield "updates cannot be sent"
    if "FunctionAssociations" in behaviour:
        yield "updates get the hash of an empty body, which is not theirs"
    for name in ("FunctionAccess", "FilesAccess"):
        access = properties(application, name)["OriginAccessControlConfig"]
        if (access["SigningBehavior"], access["SigningProtocol"]) != ("always", "sigv4"):
            yield f"{name} does not always sign"
    bucket = properties(application, "DashboardFiles")["PublicAccessBlockConfiguration"]
    if len(bucket) != 4 or not all(bucket.values()):
        yield "the dashboard's bucket can be made public"
    if "us-east-1" not in json.dumps(application["Conditions"]["Waf"]):
        yield "a web ACL for CloudFront cannot be made outside of us-east-1"
    if properties(application, "RateLimit")["Scope"] != "CLOUDFRONT":
        yield "the web ACL is not one for CloudFront"


def permissions(application, data):
    for name, grant in of_type(application, "AWS::Lambda::Permission").items():
        principal, via_url = grant["Properties"]["Principal"], grant["Properties"].get("InvokedViaFunctionUrl")
        is_of_url = via_url or grant["Properties"]["Action"] == "lambda:InvokeFunctionUrl"
        if "*" in json.dumps(principal) and not is_of_url:
            yield f"{name} lets anybody invoke"
        if not is_of_url and "SourceArn" not in grant["Properties"]:
            yield f"{name} lets in whatever a service passes on, of any account"
    for template in (application, data):
        for name, role in of_type(template, "AWS::IAM::Role").items():
            for part in values(role["Properties"].get("Policies", [])):
                if isinstance(part, dict) and part.get("Effect") == "Allow":
                    if "*" in (part["Action"], part["Resource"]) or ["*"] in (part["Action"], part["Resource"]):
                        yield f"{name} allows everything, or everywhere"
            if "Bounded" not in json.dumps(role["Properties"].get("PermissionsBoundary")):
                yield f"{name} has no permissions boundary, and cannot be made where one is asked for"
    for name, role, user in (("Worker", "WorkerRole", "writer"), ("the streams", "StatusRole", "reader")):
        policies = json.dumps(properties(application, role)["Policies"])
        if "rds-db:connect" not in policies or f"/runcast_{user}" not in policies:
            yield f"{name} cannot log in to Postgres as runcast_{user}"
        if re.search(r"dbuser:[^\"]*\*", policies):
            yield f"{name} can log in to Postgres as anybody, the owner too"
        if "elasticache:Connect" not in policies:
            yield f"{name} cannot log in to the cache"
        environment = properties(application, "Worker" if name == "Worker" else "TestStatus")["Environment"]
        if f"runcast_{user}@" not in json.dumps(environment):
            yield f"{name} logs in to Postgres as another than runcast_{user}"
    bucket = {"Bucket": {"Fn::Select": [0, {"Fn::Split": ["/", {"Ref": "ArtifactsBucket"}]}]}}
    artifacts = ("s3:GetObject", {"Fn::Sub": ["arn:${AWS::Partition}:s3:::${Bucket}/*", bucket]})
    parts = [part for part in values(properties(application, "StatusRole")["Policies"]) if isinstance(part, dict)]
    if artifacts not in [(part.get("Action"), part.get("Resource")) for part in parts]:
        yield "the streams may read another bucket than that of the artifacts, or not that"
    policies = json.dumps(properties(application, "IngestRole")["Policies"])
    if "elasticache:Connect" not in policies or "/runcast_writer" not in policies or re.search(r"dbuser:[^\"]*\*", policies):
        yield "Ingest cannot log in, or can as anybody"
    if "sqs:" in policies:
        yield "Ingest may read or send what is the worker's"
    policies = json.dumps(properties(application, "QueueStatsRole")["Policies"])
    if "elasticache:Connect" not in policies or "rds-db:" in policies:
        yield "QueueStats cannot log in to the cache, or can to Postgres"
    for name in STREAMS:
        role = "QueueStatsRole" if name == "QueueStats" else "StatusRole"
        if properties(application, name)["Role"] != {"Fn::GetAtt": [role, "Arn"]}:
            yield f"{name} has another's rights"


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


def network(_, data):
    resources = data["Resources"]
    for forbidden in ("AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::Route", "AWS::EC2::EIP"):
        if of_type(data, forbidden):
            yield f"there is a way to the internet: {forbidden}"
    subnets = of_type(data, "AWS::EC2::Subnet")
    zones = []
    for subnet in subnets.values():
        condition, named, first = subnet["Properties"]["AvailabilityZone"]["Fn::If"]
        zones.append(first["Fn::Select"][0])
        if (condition, named) != ("ZonesNamed", {"Fn::Select": [zones[-1], {"Ref": "AvailabilityZones"}]}):
            yield "a zone that lacks Lambda, or the cache, cannot be avoided"
    ranges = {json.dumps(subnet["Properties"]["CidrBlock"]) for subnet in subnets.values()}
    # Some regions have two, and an interface endpoint is paid for in each.
    if sorted(zones) != [0, 1] or len(ranges) != 2:
        yield "the subnets are not two, in the first two zones, with addresses of their own"
    for subnet in subnets.values():
        if subnet["Properties"].get("MapPublicIpOnLaunch"):
            yield "a subnet gives public addresses"
        _, count, bits = subnet["Properties"]["CidrBlock"]["Fn::Select"][1]["Fn::Cidr"]
        prefix = int(data["Parameters"]["VpcCidr"]["Default"].split("/")[1])
        if int(count) < 2 or 2 ** (32 - prefix) < int(count) * 2 ** int(bits) or int(bits) < 8:
            yield "a subnet has too few addresses for the functions' interfaces"
    endpoint = resources["S3Endpoint"]["Properties"]
    if endpoint["VpcEndpointType"] != "Gateway" or endpoint["RouteTableIds"] != [{"Ref": "Routes"}]:
        yield "migrate cannot answer CloudFormation: no way to S3"
    if "cloudformation-custom-resource-response-" not in json.dumps(endpoint["PolicyDocument"]):
        yield "migrate cannot answer CloudFormation, or can write to all of S3"
    routed = {link["Properties"]["SubnetId"]["Ref"] for link in of_type(data, "AWS::EC2::SubnetRouteTableAssociation").values()}
    if routed != set(subnets):
        yield "a subnet does not know the way to S3"
    if not of_type(data, "AWS::EC2::FlowLog"):
        yield "there are no flow logs"
    ports = {"CacheGroup": (6379, 6380), "DatabaseGroup": (5432, 5432), "ProxyGroup": (5432, 5432), "EndpointGroup": (443, 443)}
    for name, group in of_type(data, "AWS::EC2::SecurityGroup").items():
        for rule in group["Properties"].get("SecurityGroupIngress", []):
            if "CidrIp" in rule or rule.get("SourceSecurityGroupId") != {"Ref": "FunctionGroup"}:
                yield f"{name} lets in others than the functions"
            if (rule["FromPort"], rule["ToPort"]) != ports[name]:
                yield f"{name} opens the ports {rule['FromPort']} to {rule['ToPort']}"
    if "SecurityGroupIngress" in resources["FunctionGroup"]["Properties"]:
        yield "something can connect to the functions"
    out = {(rule["FromPort"], rule["ToPort"]) for rule in resources["FunctionGroup"]["Properties"]["SecurityGroupEgress"]}
    if out != {(5432, 5432), (6379, 6380), (443, 443)}:
        yield f"the functions can connect to the ports {sorted(out)}"


def cache(_, data):
    for name in ("ServerlessCache", "CacheNodes", "StreamsUser", "WorkerUser", "IngestUser", "ServerUser", "Users"):
        if properties(data, name)["Engine"] != "valkey":
            yield f"{name} is not Valkey"
    nodes = properties(data, "CacheNodes")
    for name in ("TransitEncryptionEnabled", "AtRestEncryptionEnabled", "AutomaticFailoverEnabled", "MultiAZEnabled"):
        if nodes.get(name) is not True:
            yield f"the nodes lack {name}"
    if nodes["NumCacheClusters"] < 2:
        yield "nothing can fail over to one node"
    if "Maximum" not in properties(data, "ServerlessCache").get("CacheUsageLimits", {}).get("ECPUPerSecond", {}):
        yield "the cache's bill has no upper end"
    if properties(data, "Users")["UserIds"] != [{"Ref": user} for user in ("StreamsUser", "WorkerUser", "IngestUser", "ServerUser")]:
        yield "the cache lets in others, or not all"
    versions = [float(properties(data, "ServerlessCache")["MajorEngineVersion"]), float(nodes["EngineVersion"])]
    users = (
        ("StreamsUser", "STREAM_RULES"), ("WorkerUser", "WORKER_RULES"), ("IngestUser", "INGEST_RULES"),
        ("ServerUser", "STREAM_RULES"), ("ServerUser", "INGEST_RULES"),
    )  # fmt: skip
    for name, table in users:
        user = properties(data, name)
        if user["UserId"] != user["UserName"]:
            yield f"{name} cannot log in by IAM: its id and name differ"
        if user["AuthenticationMode"] != {"Type": "iam"}:
            yield f"{name} does not log in by IAM"
        access = user["AccessString"]
        access = access["Fn::Sub"] if isinstance(access, dict) else access
        if access.split()[:2] != ["on", "resetchannels"]:
            yield f"{name} is off, or listens to every channel"
        for word in access.replace("(", " ").replace(")", " ").split():
            if not re.fullmatch(ACCESS_WORD, word):
                yield f"{name}: ElastiCache does not document {word}"
        if not {"(", "%"}.isdisjoint(access) and min(versions) < 7:
            yield f"{name}: ElastiCache takes selectors and %R~ from version 7 on"
        if "+@all" in access or re.search(r"~\*|&\*|allkeys|allchannels", access):
            yield f"{name} may do everything"
        outside, _, selector = access.partition("(")
        if name == "StreamsUser" and "+publish" in outside:
            yield "a streaming function could forge events"
        if name == "WorkerUser" and "~" in access:
            yield "the worker may read or write keys"
        if name == "IngestUser" and re.findall(r"~\S+", access) != ["~limit:*"]:
            yield "ingest may read or write others' keys"
        for rule in local_rules(table):
            wanted = rule.strip("()").split()
            # Who may publish everywhere needs no selector.
            within = selector if rule.startswith("(") and selector else outside
            if not all(word in within.rstrip(")").split() for word in wanted):
                yield f"{name} may not do what it may in the local stack: {rule}"


def local_rules(table):
    """What the local stack allows a user, from its source."""
    source = (CHECKOUT / "local/src/servers.rs").read_text()
    body = re.search(rf"const {table}: [^=]*= \[(.*?)\];", source, re.S).group(1)
    return re.findall(r'"([^"]+)"', body)


def database(_, data):
    cluster, instance = data["Resources"]["Database"], properties(data, "DatabaseInstance")
    if cluster.get("DeletionPolicy") != "Snapshot" or cluster.get("UpdateReplacePolicy") != "Snapshot":
        yield "the database goes without a snapshot"
    cluster = cluster["Properties"]
    if cluster["Engine"] != "aurora-postgresql" or instance["Engine"] != "aurora-postgresql":
        yield "the database is not Aurora PostgreSQL"
    if instance["DBInstanceClass"] != "db.serverless" or "ServerlessV2ScalingConfiguration" not in cluster:
        yield "the database is not serverless"
    scaling = cluster["ServerlessV2ScalingConfiguration"]
    # With a proxy, which keeps connections, Aurora cannot pause.
    if scaling["MinCapacity"] != {"Fn::If": ["Proxy", 0.5, 0]} or scaling["MaxCapacity"] != {"Ref": "DatabaseMaxCapacity"}:
        yield "the database's capacity is not from 0 to what the parameter says"
    if data["Parameters"]["DatabaseMaxCapacity"]["MinValue"] < 1:
        yield "Aurora takes a maximum of 1 unit at least"
    if cluster.get("DeletionProtection") != {"Ref": "DatabaseProtected"}:
        yield "nobody can protect the database, or its stack's roll-back cannot delete it"
    for name in ("EnableIAMDatabaseAuthentication", "StorageEncrypted"):
        if cluster.get(name) is not True:
            yield f"the database lacks {name}"
    if cluster["BackupRetentionPeriod"] < 7:
        yield "a mistake that shows after a weekend cannot be undone"
    if "EnableCloudwatchLogsExports" in cluster:
        yield "the database's log is kept for ever: RDS makes its group without an end"
    if instance.get("PubliclyAccessible") is not False:
        yield "the database is public"
    if properties(data, "DatabaseReplica").get("PromotionTier", 2) > 1:
        yield "the replica is smaller than what it takes the place of"
    for name, key in (("Database", "KmsKeyId"), ("ServerlessCache", "KmsKeyId"), ("CacheNodes", "KmsKeyId"), ("OwnerSecret", "KmsKeyId")):
        if "Keyed" not in json.dumps(properties(data, name).get(key)):
            yield f"{name} is not encrypted by the key that was given"
    secret = properties(data, "OwnerSecret")["GenerateSecretString"]
    if secret.get("ExcludePunctuation") is not True:
        yield "a password with punctuation breaks its URL"
    if data["Resources"]["OwnerSecret"].get("DeletionPolicy") != "RetainExceptOnCreate":
        yield "a snapshot is left without its password"
    pool = properties(data, "ProxyTarget").get("ConnectionPoolConfigurationInfo", {})
    if "idle_session_timeout = 0" not in pool.get("InitQuery", ""):
        yield "Postgres closes what the proxy keeps, by the roles' idle_session_timeout"
    proxy = properties(data, "Proxy")
    if proxy.get("IdleClientTimeout", 1800) > 60:
        yield "the proxy keeps the connections of frozen environments"
    if (proxy["EngineFamily"], proxy.get("RequireTLS"), proxy.get("DefaultAuthScheme")) != ("POSTGRESQL", True, "IAM_AUTH"):
        yield "the proxy does not ask for TLS and IAM"
