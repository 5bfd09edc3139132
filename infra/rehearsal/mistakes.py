"""Mistakes that someone will make one day, each of which some step must catch.

Each is a name, the template it is in, and a change of it. `uncaught` runs the same linters and rules
as the rehearsal does.
"""

import json

import rules
from cfnlint.api import ManualArgs, lint
from templates import APPLICATION, DATA, load, translate


def put(*path_and_value):
    """Sets what is at a path; `None` removes it."""
    *path, value = path_and_value

    def change(template):
        node = template
        for step in path[:-1]:
            node = node[step]
        if value is None:
            del node[path[-1]]
        else:
            node[path[-1]] = value

    return change


def prop(resource, *path_and_value):
    return put("Resources", resource, "Properties", *path_and_value)


# One is enough: the linter takes seconds for each.
REGION = "us-east-1"

DISTRIBUTION = ("Distribution", "DistributionConfig")
STREAM_CALL = ("Api", "Body", "paths", "/api/job-status/{proxy+}", "x-amazon-apigateway-any-method", "x-amazon-apigateway-integration")
INGRESS = ("SecurityGroupIngress", 0)

MISTAKES = [
    # The functions and their URLs.
    ("a runtime that is no more", APPLICATION, prop("JobStatus", "Runtime", "provided.al1")),
    ("an architecture that does not exist", APPLICATION, put("Parameters", "Architecture", "Default", "arm")),
    ("a time limit beyond Lambda's", APPLICATION, prop("JobStatus", "Timeout", 1000)),
    ("a time limit below the window", APPLICATION, prop("TestStatus", "Timeout", 60)),
    ("a URL that buffers", APPLICATION, prop("JobStatusUrl", "InvokeMode", "BUFFERED")),
    ("an invoke mode that does not exist", APPLICATION, prop("JobStatusUrl", "InvokeMode", "STREAM")),
    ("a URL without lambda:InvokeFunction", APPLICATION, put("Resources", "JobStatusUrlInvokePermission", None)),
    ("a URL without lambda:InvokeFunctionUrl", APPLICATION, put("Resources", "QueueStatsUrlPermission", None)),
    ("a function that anybody invokes", APPLICATION, prop("JobStatusUrlInvokePermission", "InvokedViaFunctionUrl", None)),
    ("an open URL behind CloudFront", APPLICATION, prop("TestStatusUrl", "AuthType", "NONE")),
    ("a permission for the other auth type", APPLICATION, prop("TestStatusUrlPermission", "FunctionUrlAuthType", "AWS_IAM")),
    ("any distribution let in", APPLICATION, prop("JobStatusUrlPermission", "SourceArn", None)),
    ("a reference to what is not there", APPLICATION, prop("JobStatus", "Role", {"Fn::GetAtt": ["StreamRole", "Arn"]})),
    ("one function configured otherwise", APPLICATION, prop("JobStatus", "Environment", "Variables", "AUTH_JWKS", None)),
    ("logs for ever", APPLICATION, prop("WorkerLogs", "RetentionInDays", None)),
    ("too little memory on managed instances", APPLICATION, prop("JobStatus", "MemorySize", 128)),
    ("a VPC on a managed function", APPLICATION, put("Conditions", "StreamsAttached", {"Fn::Equals": [1, 1, 1]})),
    # The queue.
    ("a visibility below six time limits", APPLICATION, prop("Updates", "VisibilityTimeout", 30)),
    ("a queue without order", APPLICATION, prop("Updates", "FifoQueue", None)),
    ("a dead-letter queue of another kind", APPLICATION, prop("DeadUpdates", "FifoQueue", False)),
    ("a queue without high throughput", APPLICATION, prop("Updates", "FifoThroughputLimit", "perQueue")),
    ("a batching window on FIFO", APPLICATION, prop("Worker", "Events", "Updates", "Properties", "MaximumBatchingWindowInSeconds", 5)),
    ("a batch too large for FIFO", APPLICATION, prop("Worker", "Events", "Updates", "Properties", "BatchSize", 100)),
    ("a batch that succeeds or fails as one", APPLICATION, prop("Worker", "Events", "Updates", "Properties", "FunctionResponseTypes", None)),
    ("a worker without a maximum", APPLICATION, prop("Worker", "Events", "Updates", "Properties", "ScalingConfig", None)),
    ("a maximum of one", APPLICATION, put("Parameters", "WorkerConcurrency", "MinValue", 1)),
    ("a queue without TLS", APPLICATION, prop("UpdatesOverTls", "Queues", [{"Ref": "Updates"}])),
    ("two tries, then dead", APPLICATION, prop("Updates", "RedrivePolicy", "maxReceiveCount", 2)),
    # The schema.
    ("a migration that new code does not run", APPLICATION, prop("Schema", "Version", "1")),
    ("an hour's wait for a migration", APPLICATION, prop("Schema", "ServiceTimeout", None)),
    ("functions before their schema", APPLICATION, put("Resources", "Worker", "DependsOn", None)),
    ("nothing that prunes", APPLICATION, prop("Migrate", "Events", "Prune", "Properties", "Input", '{"action":"migrate"}')),
    # What stands in front.
    ("a read timeout below the heartbeat", APPLICATION, prop(*DISTRIBUTION, "Origins", 2, "CustomOriginConfig", "OriginReadTimeout", 10)),
    ("compressed streams", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 1, "Compress", True)),
    ("cached streams", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 0, "CachePolicyId", "658327ea-f89d-4fab-a63d-7e88639e58f6")),
    ("the viewer's host at a URL", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 0, "OriginRequestPolicyId", "216adef6-5c7f-47e4-b989-5492eafa07d3")),
    ("an origin without its access control", APPLICATION, prop(*DISTRIBUTION, "Origins", 1, "OriginAccessControlId", None)),
    ("a path to the wrong function", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 1, "TargetOriginId", "test-status")),
    ("an origin that does not exist", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 1, "TargetOriginId", "jobs")),
    ("beacons that are turned away", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 1, "FunctionAssociations", None)),
    ("HTTP/1.1 only", APPLICATION, prop(*DISTRIBUTION, "HttpVersion", "http1.1")),
    ("a web ACL in the wrong region", APPLICATION, put("Conditions", "Waf", {"Condition": "CloudFront"})),
    ("an API that buffers", APPLICATION, prop(*STREAM_CALL, "responseTransferMode", "BUFFERED")),
    ("an API that calls Invoke", APPLICATION, prop(*STREAM_CALL, "uri", {"Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${JobStatus.Arn}/invocations"})),
    ("an API whose streams end after 29 s", APPLICATION, prop(*STREAM_CALL, "timeoutInMillis", 29000)),
    ("an API for everybody's APIs", APPLICATION, prop("JobStatusApiPermission", "SourceArn", None)),
    # Secrets, alarms, and the data's stack.
    ("a key that is shown", APPLICATION, put("Parameters", "AuthJwks", "NoEcho", False)),
    ("an alarm on what nothing counts", APPLICATION, prop("PublishFailed", "MetricName", "PublishErrors")),
    ("an alarm that rings at night", APPLICATION, prop("DeadLetters", "TreatMissingData", "breaching")),
    ("an alarm on a queue's URL", APPLICATION, prop("QueueAge", "Dimensions", [{"Name": "QueueName", "Value": {"Ref": "Updates"}}])),
    ("an alarm that rings when all is well", APPLICATION, put("Parameters", "FallbackPollSeconds", "MinValue", 1)),
    ("data that goes with the application", APPLICATION, put("Resources", "NewDataStack", "DeletionPolicy", "Delete")),
    ("an output that is not there", APPLICATION, prop("Worker", "Environment", "Variables", "REDIS_URL", {"Fn::GetAtt": ["NewDataStack", "Outputs.CacheUrl"]})),
    ("a worker that logs in as the reader", APPLICATION, prop("Worker", "Environment", "Variables", "DATABASE_URL", {"Ref": "StreamsDatabaseUrl"})),
    # The data.
    ("an engine that does not exist", DATA, prop("Database", "Engine", "aurora-postgres")),
    ("a cache with another engine", DATA, prop("ServerlessCache", "Engine", "memcached")),
    ("an instance that is not serverless", DATA, prop("DatabaseInstance", "DBInstanceClass", "db.r6g.large")),
    ("a capacity that never pauses", DATA, prop("Database", "ServerlessV2ScalingConfiguration", "MinCapacity", 8)),
    ("a database without a snapshot", DATA, put("Resources", "Database", "DeletionPolicy", "Delete")),
    ("a database without protection", DATA, prop("Database", "DeletionProtection", False)),
    ("a database without IAM", DATA, prop("Database", "EnableIAMDatabaseAuthentication", False)),
    ("a public database", DATA, prop("DatabaseInstance", "PubliclyAccessible", True)),
    ("a database open to the VPC", DATA, prop("DatabaseGroup", *INGRESS, {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "CidrIp": "10.0.0.0/8"})),
    ("MySQL's port", DATA, prop("DatabaseGroup", *INGRESS, "FromPort", 3306)),
    ("functions that reach everything", DATA, prop("FunctionGroup", "SecurityGroupEgress", [{"IpProtocol": "-1", "FromPort": 0, "ToPort": 65535, "CidrIp": "0.0.0.0/0"}])),
    ("subnets on each other", DATA, prop("SubnetB", "CidrBlock", {"Fn::Select": [0, {"Fn::Cidr": [{"Ref": "VpcCidr"}, 3, 8]}]})),
    ("addresses that are none", DATA, put("Parameters", "VpcCidr", "Default", "10.64.0/22")),
    ("addresses too few", DATA, put("Parameters", "VpcCidr", "Default", "10.64.0.0/28")),
    ("no way to answer CloudFormation", DATA, prop("S3Endpoint", "RouteTableIds", [])),
    ("a subnet without the way to S3", DATA, put("Resources", "RoutesOfC", None)),
    ("streams that can forge events", DATA, prop("StreamsUser", "AccessString", "on resetchannels &test:* -@all +subscribe +publish")),
    ("a worker that may do everything", DATA, prop("WorkerUser", "AccessString", "on ~* &* +@all")),
    ("a user whose id is not its name", DATA, prop("WorkerUser", "UserName", "worker")),
    ("a cache without TLS", DATA, prop("CacheNodes", "TransitEncryptionEnabled", False)),
    ("a password that breaks its URL", DATA, prop("OwnerSecret", "GenerateSecretString", "ExcludePunctuation", None)),
    ("a proxy without TLS", DATA, prop("Proxy", "RequireTLS", False)),
]  # fmt: skip


def found_in(application, data, lint_which):
    """What is wrong, and which step says so first."""
    try:
        translated = translate(application)
    except Exception as error:  # whatever SAM raises, it refuses the template
        return "SAM", [str(getattr(error, "message", error))]
    messages = rules.check(translated, data)
    if messages:
        return "rules", messages
    linted = translated if lint_which == APPLICATION else data
    found = [match.message for match in lint(json.dumps(linted), config=ManualArgs(regions=[REGION])) if match.rule.id[0] == "E"]
    # Without its own linter's settings the translated template has warnings: they are no errors.
    return ("cfn-lint", found) if found else (None, [])


def uncaught():
    """The mistakes that nothing catches; prints who catches which."""
    missed = []
    for name, path, change in MISTAKES:
        application, data = load(APPLICATION), load(DATA)
        change(application if path == APPLICATION else data)
        catcher, messages = found_in(application, data, path)
        print(f"  {catcher or 'NOBODY':9} {name}: {messages[0].splitlines()[0][:110] if messages else ''}")
        if not catcher:
            missed.append(name)
    return missed
