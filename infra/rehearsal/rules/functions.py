"""What runs: the functions, their URLs and queues, and what each may do."""

import json
import re

from templates import of_type, properties, refers, values

STREAMS = {"TestStatus": "test-status", "JobStatus": "job-status", "QueueStats": "queue-stats"}
FUNCTIONS = {*STREAMS, "Worker", "Ingest", "Notify", "Migrate", "FetchKeys"}
DATABASE_VARIABLES = {"DATABASE_URL", "DATABASE_IAM_AUTH", "DATABASE_CA_FILE", "DATABASE_IDLE_SECONDS", "DATABASE_PROXY"}
STATUS_VARIABLES = DATABASE_VARIABLES | {"ARTIFACTS_BUCKET"}
NOTIFY_VARIABLES = {"WORKER_FUNCTION", "EVENT_BUS", "WEBHOOK_URL", "WEBHOOK_SECRET", "NOTIFY_CHANGES", "RUST_LOG"}
QUEUE_VARIABLES = {"QUEUE_REDIS_URL", "QUEUE_NAMES", "QUEUE_PREFIX", "RUNNING_CAPACITY", "QUEUED_CAPACITY"}
# A stream ends this long before its function's time limit.
MARGIN_SECONDS = 30


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
