"""Mistakes that someone will make one day, each of which some step must catch.

Each is a name, who has to catch it (SAM, cfn-lint, or a rule of `rules` or `service.py`), the template it is in,
and a change of it.
"""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import rules
import service
from cfnlint.api import ManualArgs, lint
from templates import APPLICATION, DATA, SERVICE, load, translate


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


def replace(resource, *path, old, new):
    """Replaces a word in a text of a resource."""

    def change(template):
        *steps, last = path
        node = template["Resources"][resource]["Properties"]
        for step in steps:
            node = node[step]
        node[last] = node[last].replace(old, new)

    return change


# One is enough: the linter takes seconds for each.
REGION = "us-east-1"

DISTRIBUTION = ("Distribution", "DistributionConfig")
STREAM_CALL = ("Api", "DefinitionBody", "paths", "/api/job-status/{proxy+}", "x-amazon-apigateway-any-method", "x-amazon-apigateway-integration")
INGRESS = ("SecurityGroupIngress", 0)
CONTAINER = ("Task", "ContainerDefinitions", 0)

MISTAKES = [
    # The functions and their URLs.
    ("a runtime that is no more", "cfn-lint", APPLICATION, prop("JobStatus", "Runtime", "provided.al1")),
    ("an architecture that does not exist", "cfn-lint", APPLICATION, put("Parameters", "Architecture", "Default", "arm")),
    ("a time limit beyond Lambda's", "cfn-lint", APPLICATION, prop("JobStatus", "Timeout", 1000)),
    ("a time limit below the window", "functions", APPLICATION, prop("TestStatus", "Timeout", 60)),
    ("a URL that buffers", "urls", APPLICATION, prop("JobStatusUrl", "InvokeMode", "BUFFERED")),
    ("an invoke mode that does not exist", "cfn-lint", APPLICATION, prop("JobStatusUrl", "InvokeMode", "STREAM")),
    ("a URL without lambda:InvokeFunction", "urls", APPLICATION, put("Resources", "JobStatusUrlInvokePermission", None)),
    ("a URL without lambda:InvokeFunctionUrl", "urls", APPLICATION, put("Resources", "QueueStatsUrlPermission", None)),
    ("a function that anybody invokes", "urls", APPLICATION, prop("JobStatusUrlInvokePermission", "InvokedViaFunctionUrl", None)),
    ("an open URL behind CloudFront", "urls", APPLICATION, prop("TestStatusUrl", "AuthType", "NONE")),
    ("a permission for the other auth type", "urls", APPLICATION, prop("TestStatusUrlPermission", "FunctionUrlAuthType", "AWS_IAM")),
    ("any distribution let in", "urls", APPLICATION, prop("JobStatusUrlPermission", "SourceArn", None)),
    ("a reference to what is not there", "cfn-lint", APPLICATION, prop("JobStatus", "Role", {"Fn::GetAtt": ["StreamRole", "Arn"]})),
    ("one function configured otherwise", "functions", APPLICATION, prop("JobStatus", "Environment", "Variables", "AUTH_JWKS", None)),
    ("queue-stats that knows the database", "functions", APPLICATION, prop("QueueStats", "Environment", "Variables", "DATABASE_URL", {"Ref": "StreamsDatabaseUrl"})),
    ("test-status that knows the queues", "functions", APPLICATION, prop("TestStatus", "Environment", "Variables", "QUEUE_REDIS_URL", {"Ref": "QueueRedisUrl"})),
    ("queue-stats with the right to the database", "permissions", APPLICATION, prop("QueueStats", "Role", {"Fn::GetAtt": ["StatusRole", "Arn"]})),
    ("logs for ever", "functions", APPLICATION, prop("WorkerLogs", "RetentionInDays", None)),
    ("too little memory on managed instances", "functions", APPLICATION, prop("JobStatus", "MemorySize", 128)),
    ("a VPC on a managed function", "functions", APPLICATION, prop("JobStatus", "VpcConfig", "Fn::If", 0, "Attached")),
    ("statements that are kept on what a proxy shares", "functions", APPLICATION, prop("Worker", "Environment", "Variables", "DATABASE_PROXY", "false")),
    ("a function that cannot become a managed one", "updates", APPLICATION, prop("JobStatus", "FunctionName", None)),
    ("one that can, but not back", "updates", APPLICATION, prop("JobStatus", "FunctionName", {"Fn::Sub": "${AWS::StackName}-job-status-${ManagedMaxVcpus}"})),
    ("managed instances for one version", "functions", APPLICATION, put("Parameters", "ManagedMaxVcpus", "Default", 12)),
    ("managed functions that grow without an end", "functions", APPLICATION, prop("QueueStats", "FunctionScalingConfig", None)),
    ("managed instances of any type", "functions", APPLICATION, prop("Instances", "InstanceRequirements", "AllowedInstanceTypes", None)),
    ("a name that bars its own replacement", "updates", APPLICATION, prop("Instances", "CapacityProviderName", {"Ref": "AWS::StackName"})),
    ("updates that have to be signed", "urls", APPLICATION, prop("IngestUrl", "AuthType", "AWS_IAM")),
    ("an ingest that anybody invokes", "urls", APPLICATION, prop("IngestUrlInvokePermission", "InvokedViaFunctionUrl", None)),
    ("an ingest with other keys", "functions", APPLICATION, prop("Ingest", "Environment", "Variables", "AUTH_JWKS", "{}")),
    ("an ingest that nothing limits", "functions", APPLICATION, prop("Ingest", "ReservedConcurrentExecutions", None)),
    # The queue.
    ("a visibility of the worker's time limit", "queues", APPLICATION, prop("Updates", "VisibilityTimeout", 30)),
    ("a status that waits for three minutes", "queues", APPLICATION, prop("Updates", "VisibilityTimeout", 180)),
    ("a queue without order", "queues", APPLICATION, prop("Updates", "FifoQueue", None)),
    ("a dead-letter queue of another kind", "queues", APPLICATION, prop("DeadUpdates", "FifoQueue", False)),
    ("a queue without high throughput", "queues", APPLICATION, prop("Updates", "FifoThroughputLimit", "perQueue")),
    ("a batching window on FIFO", "queues", APPLICATION, prop("Worker", "Events", "Updates", "Properties", "MaximumBatchingWindowInSeconds", 5)),
    ("a batch too large for FIFO", "queues", APPLICATION, prop("Worker", "Events", "Updates", "Properties", "BatchSize", 100)),
    ("a batch that succeeds or fails as one", "queues", APPLICATION, prop("Worker", "Events", "Updates", "Properties", "FunctionResponseTypes", None)),
    ("a worker without a maximum", "queues", APPLICATION, prop("Worker", "Events", "Updates", "Properties", "ScalingConfig", None)),
    ("a worker that viewers starve", "queues", APPLICATION, prop("Worker", "ReservedConcurrentExecutions", None)),
    ("fewer environments reserved than batches", "queues", APPLICATION, prop("Worker", "ReservedConcurrentExecutions", "Fn::If", 1, 1)),
    ("a maximum of one", "parameters", APPLICATION, put("Parameters", "WorkerConcurrency", "MinValue", 1)),
    ("a queue without TLS", "queues", APPLICATION, put("Resources", "DeadUpdatesOverTls", None)),
    ("one policy for two queues", "queues", APPLICATION, prop("UpdatesOverTls", "PolicyDocument", "Statement", 0, "Resource", [{"Fn::GetAtt": ["Updates", "Arn"]}, {"Fn::GetAtt": ["DeadUpdates", "Arn"]}])),
    ("producers that may read the queue", "queues", APPLICATION, prop("UpdatesOverTls", "PolicyDocument", "Statement", 1, "Fn::If", 1, "Action", "sqs:*")),
    ("a queue by AWS's key", "queues", APPLICATION, prop("DeadUpdates", "KmsMasterKeyId", None)),
    ("variables by AWS's key", "functions", APPLICATION, prop("QueueStats", "KmsKeyArn", None)),
    ("a role without bounds", "permissions", APPLICATION, prop("QueueStatsRole", "PermissionsBoundary", None)),
    ("a role without bounds, of the data", "permissions", DATA, prop("ProxyRole", "PermissionsBoundary", None)),
    ("an hour's tries, then dead", "queues", APPLICATION, prop("Updates", "RedrivePolicy", "maxReceiveCount", 80)),
    ("what is dead, tried for ever", "queues", APPLICATION, prop("Worker", "Events", "DeadUpdates", "Properties", "Enabled", None)),
    # The schema.
    ("a migration that new code does not run", "schema", APPLICATION, prop("Schema", "Version", "1")),
    ("an hour's wait for a migration", "schema", APPLICATION, prop("Schema", "ServiceTimeout", None)),
    ("functions before their schema", "schema", APPLICATION, put("Resources", "Worker", "DependsOn", None)),
    ("nothing that sweeps", "schema", APPLICATION, prop("Worker", "Events", "Sweep", "Properties", "Input", '{"updates":[]}')),
    ("nothing that prunes", "schema", APPLICATION, prop("Prune", "Targets", 0, "Input", '{"action":"migrate"}')),
    ("a prune with the password of then", "schema", APPLICATION, prop("Prune", "Targets", 0, "Arn", {"Ref": "Migrate.Alias"})),
    ("a sweep with the variables of then", "schema", APPLICATION, prop("Worker", "AutoPublishAlias", "live")),
    ("another database without its schema", "schema", APPLICATION, prop("Schema", "Database", None)),
    ("a password in the stack's events", "schema", APPLICATION, prop("Schema", "Database", {"Fn::If": ["NewData", {"Fn::GetAtt": ["NewDataStack", "Outputs.DatabaseHost"]}, {"Ref": "OwnerDatabaseUrl"}]})),
    # Telling others.
    ("a notify without a way out", "notify", APPLICATION, prop("Notify", "VpcConfig", {"SubnetIds": {"Ref": "VpcSubnetIds"}, "SecurityGroupIds": {"Ref": "VpcSecurityGroupIds"}})),
    ("a worker without the data's network", "functions", APPLICATION, prop("Worker", "VpcConfig", None)),
    ("a notify that may invoke every function", "notify", APPLICATION, prop("Notify", "Policies", 0, "Statement", 0, "Resource", {"Fn::Sub": "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:*"})),
    ("a notify that may do everything with the worker", "notify", APPLICATION, prop("Notify", "Policies", 0, "Statement", 0, "Action", "lambda:*")),
    ("a notify for every bus", "notify", APPLICATION, prop("Notify", "Policies", 1, "Fn::If", 1, "Statement", 0, "Resource", {"Fn::Sub": "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/*"})),
    ("a bus that is named by its ARN, in an ARN", "notify", APPLICATION, prop("Notify", "Policies", 1, "Fn::If", 1, "Statement", 0, "Resource", {"Fn::Sub": "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${EventBus}"})),
    ("a notify that knows the database", "notify", APPLICATION, prop("Notify", "Environment", "Variables", "DATABASE_URL", {"Ref": "WorkerDatabaseUrl"})),
    ("a notify without its condition", "notify", APPLICATION, put("Resources", "Notify", "Condition", None)),
    ("an alarm on a function that is not there", "notify", APPLICATION, put("Resources", "NotTold", "Condition", None)),
    ("a failure that is told again beside the next minute's", "notify", APPLICATION, prop("Notify", "EventInvokeConfig", None)),
    ("news that come once an hour", "notify", APPLICATION, prop("Notify", "Events", "EachMinute", "Properties", "Schedule", "rate(1 hour)")),
    ("news that never come", "notify", APPLICATION, prop("Notify", "Events", "EachMinute", "Properties", "State", "DISABLED")),
    ("a webhook without a secret", "parameters", APPLICATION, put("Rules", "WebhookIsSigned", None)),
    ("a webhook's secret that is shown", "parameters", APPLICATION, put("Parameters", "WebhookSecret", "NoEcho", False)),
    ("silence that nobody is told of", "alarms", APPLICATION, prop("NotTold", "TreatMissingData", "notBreaching")),
    # What stands in front.
    ("a read timeout below the heartbeat", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "Origins", 2, "CustomOriginConfig", "OriginReadTimeout", 10)),
    ("compressed streams", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 1, "Compress", True)),
    ("cached streams", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 0, "CachePolicyId", "658327ea-f89d-4fab-a63d-7e88639e58f6")),
    ("errors that are kept for everybody", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "CustomErrorResponses", 3, "ErrorCachingMinTTL", 10)),
    ("the viewer's host at a URL", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 0, "OriginRequestPolicyId", "216adef6-5c7f-47e4-b989-5492eafa07d3")),
    ("an origin without its access control", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "Origins", 1, "OriginAccessControlId", None)),
    ("a path to the wrong function", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 1, "TargetOriginId", "test-status")),
    ("an origin that does not exist", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 1, "TargetOriginId", "jobs")),
    ("beacons that are turned away", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 1, "FunctionAssociations", None)),
    ("updates that CloudFront signs", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "Origins", 4, "OriginAccessControlId", {"Fn::GetAtt": ["FunctionAccess", "Id"]})),
    ("updates with the hash of no body", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 4, "FunctionAssociations", [])),
    ("gzip that comes as text", "api", APPLICATION, prop("Api", "BinaryMediaTypes", None)),
    ("past runs of whoever asked first", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "CacheBehaviors", 2, "CachePolicyId", "658327ea-f89d-4fab-a63d-7e88639e58f6")),
    ("an access control that another region has", "names", APPLICATION, prop("FilesAccess", "OriginAccessControlConfig", "Name", {"Fn::Sub": "${AWS::StackName}-files"})),
    ("a policy of headers that another region has", "names", APPLICATION, prop("DashboardHeaders", "ResponseHeadersPolicyConfig", "Name", {"Fn::Sub": "${AWS::StackName}-dashboard"})),
    ("a role that another region has", "names", APPLICATION, prop("StatusRole", "RoleName", {"Fn::Sub": "${AWS::StackName}-status"})),
    ("a dashboard that another region has", "names", APPLICATION, prop("Overview", "DashboardName", {"Ref": "AWS::StackName"})),
    ("a domain without the app's name", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "Aliases", None)),
    ("access logs with cookies", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "Logging", "Fn::If", 1, "IncludeCookies", True)),
    ("a domain without a certificate", "parameters", APPLICATION, put("Rules", "DomainsHaveCertificates", None)),
    ("a web ACL behind nothing", "parameters", APPLICATION, put("Rules", "AclsAreInFront", None)),
    ("HTTP/1.1 only", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "HttpVersion", "http1.1")),
    ("a web ACL in the wrong region", "cloudfront", APPLICATION, put("Conditions", "Waf", {"Condition": "CloudFront"})),
    ("an API that buffers", "api", APPLICATION, prop(*STREAM_CALL, "responseTransferMode", "BUFFERED")),
    ("an API that calls Invoke", "api", APPLICATION, prop(*STREAM_CALL, "uri", {"Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${JobStatus.Arn}/invocations"})),
    ("an API whose streams end after 29 s", "api", APPLICATION, prop(*STREAM_CALL, "timeoutInMillis", 29000)),
    ("a change of the API that never goes live", "api", APPLICATION, put("Resources", "ApiDeployment", {"Type": "AWS::ApiGateway::Deployment", "Properties": {"RestApiId": {"Ref": "Api"}}})),
    ("an API with a stage too many", "api", APPLICATION, prop("Api", "OpenApiVersion", None)),
    ("an API for everybody's APIs", "permissions", APPLICATION, prop("JobStatusApiPermission", "SourceArn", None)),
    # What it costs.
    ("an alarm that nobody counts", "cost", APPLICATION, put("Resources", "Another", {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "Errors"}})),
    ("a metric that nobody counts", "cost", APPLICATION, replace("Overview", "DashboardBody", "Fn::Sub", old='["Runcast","Sweeps"', new='["Runcast","Sweeps","Function","Another"],["Runcast","Sweeps"')),
    ("instances that cost more", "cost", APPLICATION, prop("Instances", "InstanceRequirements", "AllowedInstanceTypes", 0, "Fn::If", 2, "m7i.4xlarge")),
    ("nodes that cost more", "cost", DATA, prop("CacheNodes", "CacheNodeType", "cache.r7g.large")),
    # Rights.
    ("a right that nothing uses", "calls", APPLICATION, prop("ProducerPolicy", "PolicyDocument", "Statement", 0, "Action", ["sqs:SendMessage", "sqs:GetQueueUrl"])),
    ("a right of the data that nothing uses", "calls", DATA, prop("S3Endpoint", "PolicyDocument", "Statement", 0, "Action", ["s3:PutObject", "s3:DeleteObject"])),
    ("a call without its right", "calls", APPLICATION, prop("Notify", "Policies", 1, {"Ref": "AWS::NoValue"})),
    ("producers that cannot encrypt", "calls", APPLICATION, prop("ProducerPolicy", "PolicyDocument", "Statement", 1, {"Ref": "AWS::NoValue"})),
    # Secrets, alarms, and the data's stack.
    ("a key that is shown", "parameters", APPLICATION, put("Parameters", "AuthJwks", "NoEcho", False)),
    ("an alarm on what nothing counts", "alarms", APPLICATION, prop("PublishFailed", "Metrics", 1, "MetricStat", "Metric", "MetricName", "PublishErrors")),
    ("an alarm on what the worker never counts", "alarms", APPLICATION, prop("PublishFailed", "Metrics", 1, "MetricStat", "Metric", "MetricName", "RedisErrors")),
    ("an alarm on queue-stats' polls", "alarms", APPLICATION, prop("FallbackRate", "Metrics", 1, "MetricStat", "Metric", "Dimensions", 0, "Value", "Ref", "QueueStats")),
    ("a labelled metric, asked for without its label", "alarms", APPLICATION, prop("Rejected", "Metrics", 1, "MetricStat", "Metric", "MetricName", "LimitsHit")),
    ("a widget that is always empty", "alarms", APPLICATION, replace("Overview", "DashboardBody", "Fn::Sub", old="RejectedUpdates", new="RefusedUpdates")),
    ("an alarm that rings at night", "alarms", APPLICATION, prop("DeadLetters", "TreatMissingData", "breaching")),
    ("a quota that nobody knows", "alarms", APPLICATION, prop("ConcurrencyHigh", "Metrics", 0, "Expression", "used/1000")),
    ("an alarm on a queue's URL", "alarms", APPLICATION, prop("QueueAge", "Dimensions", [{"Name": "QueueName", "Value": {"Ref": "Updates"}}])),
    ("a prefix that a cluster cannot use", "parameters", APPLICATION, put("Parameters", "QueuePrefix", "AllowedPattern", "[A-Za-z0-9_-]+")),
    ("subnets without their groups", "parameters", APPLICATION, put("Rules", "NetworksAreWhole", None)),
    ("managed instances nowhere", "parameters", APPLICATION, put("Rules", "ManagedInstancesAreInAVpc", None)),
    ("logins by IAM to nowhere", "parameters", APPLICATION, put("Rules", "LoginsByIamAreNamed", "Assertions", 0, None)),
    ("users by IAM of no cache", "parameters", APPLICATION, put("Rules", "LoginsByIamAreNamed", "Assertions", 1, None)),
    ("a limit that a WAF does not take", "parameters", APPLICATION, put("Rules", "WafIsWithCloudFront", "Assertions", 1, None)),
    ("a WAF with no front", "parameters", APPLICATION, put("Rules", "WafIsWithCloudFront", "Assertions", 0, None)),
    ("queues with new data", "parameters", APPLICATION, put("Rules", "QueuesAreWithOwnData", None)),
    ("data that goes with the application", "nested", APPLICATION, put("Resources", "NewDataStack", "DeletionPolicy", "Delete")),
    ("data that bars the next first deployment", "nested", APPLICATION, put("Resources", "NewDataStack", "DeletionPolicy", "Retain")),
    ("files that bar it", "nested", APPLICATION, put("Resources", "DashboardFiles", "DeletionPolicy", "Retain")),
    ("names that an earlier stack's data has", "nested", APPLICATION, prop("NewDataStack", "Parameters", "Name", {"Ref": "AWS::StackName"})),
    ("an output that is not there", "nested", APPLICATION, prop("Worker", "Environment", "Variables", "REDIS_URL", {"Fn::If": ["NewData", {"Fn::GetAtt": ["NewDataStack", "Outputs.CacheUrl"]}, {"Ref": "WorkerRedisUrl"}]})),
    ("a worker that logs in as the reader", "permissions", APPLICATION, prop("Worker", "Environment", "Variables", "DATABASE_URL", {"Ref": "StreamsDatabaseUrl"})),
    ("keys that are fetched from a VPC without a way out", "keys", APPLICATION, prop("FetchKeys", "VpcConfig", {"SubnetIds": ["subnet-a"], "SecurityGroupIds": ["sg-a"]})),
    ("streams that ask for keys where they cannot", "keys", APPLICATION, prop("Ingest", "Environment", "Variables", "AUTH_JWKS", {"Ref": "AuthJwks"})),
    ("a way to S3 that lets no keys through", "keys", DATA, prop("S3Endpoint", "PolicyDocument", "Statement", 1, None)),
    ("streams that read any bucket", "permissions", APPLICATION, prop("StatusRole", "Policies", 2, "Fn::If", 1, "PolicyDocument", "Statement", 0, "Resource", {"Fn::Sub": ["arn:${AWS::Partition}:s3:::*/*", {}]})),
    ("streams that log in as anybody", "permissions", APPLICATION, prop("StatusRole", "Policies", 1, "Fn::If", 1, "PolicyDocument", "Statement", 0, "Resource", {"Fn::Sub": "arn:aws:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${DatabaseResourceId}/*"})),
    # The data.
    ("an engine that does not exist", "database", DATA, prop("Database", "Engine", "aurora-postgres")),
    ("a cache with another engine", "cache", DATA, prop("ServerlessCache", "Engine", "memcached")),
    ("an instance that is not serverless", "database", DATA, prop("DatabaseInstance", "DBInstanceClass", "db.r6g.large")),
    ("a capacity that never pauses", "database", DATA, prop("Database", "ServerlessV2ScalingConfiguration", "MinCapacity", 8)),
    ("a database without a snapshot", "database", DATA, put("Resources", "Database", "DeletionPolicy", "Delete")),
    ("a database that nobody can protect", "database", DATA, prop("Database", "DeletionProtection", False)),
    ("a database that a roll-back cannot delete", "nested", DATA, prop("Database", "DeletionProtection", True)),
    ("a secret that a roll-back leaves", "nested", DATA, put("Resources", "OwnerSecret", "DeletionPolicy", "Retain")),
    ("a cache with one name for all stacks", "names", DATA, prop("ServerlessCache", "ServerlessCacheName", "runcast")),
    ("a database with one name for all stacks", "names", DATA, prop("Database", "DBClusterIdentifier", "runcast")),
    ("a database without IAM", "database", DATA, prop("Database", "EnableIAMDatabaseAuthentication", False)),
    ("a log of the database for ever", "database", DATA, prop("Database", "EnableCloudwatchLogsExports", ["postgresql"])),
    ("a public database", "database", DATA, prop("DatabaseInstance", "PubliclyAccessible", True)),
    ("a database open to the VPC", "network", DATA, prop("DatabaseGroup", *INGRESS, {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "CidrIp": "10.0.0.0/8"})),
    ("MySQL's port", "network", DATA, prop("DatabaseGroup", *INGRESS, "FromPort", 3306)),
    ("functions that reach everything", "network", DATA, prop("FunctionGroup", "SecurityGroupEgress", [{"IpProtocol": "-1", "FromPort": 0, "ToPort": 65535, "CidrIp": "0.0.0.0/0"}])),
    ("subnets on each other", "network", DATA, prop("SubnetB", "CidrBlock", {"Fn::Select": [0, {"Fn::Cidr": [{"Ref": "VpcCidr"}, 2, 9]}]})),
    ("a zone that a region lacks", "network", DATA, prop("SubnetB", "AvailabilityZone", "Fn::If", 2, "Fn::Select", 0, 2)),
    ("a zone that has no Lambda", "network", DATA, prop("SubnetA", "AvailabilityZone", {"Fn::Select": [0, {"Fn::GetAZs": ""}]})),
    ("addresses that are none", "cfn-lint", DATA, put("Parameters", "VpcCidr", "Default", "10.64.0/22")),
    ("addresses too few", "network", DATA, put("Parameters", "VpcCidr", "Default", "10.64.0.0/28")),
    ("no way to answer CloudFormation", "network", DATA, prop("S3Endpoint", "RouteTableIds", [])),
    ("a subnet without the way to S3", "network", DATA, put("Resources", "RoutesOfB", None)),
    ("streams that can forge events", "cache", DATA, prop("StreamsUser", "AccessString", {"Fn::Sub": "on resetchannels &test:* %R~${QueuePrefix}:* -@all +subscribe +publish"})),
    ("a worker that may do everything", "cache", DATA, prop("WorkerUser", "AccessString", "on ~* &* +@all")),
    ("an ingest that may read every key", "cache", DATA, prop("IngestUser", "AccessString", "on resetchannels &test:* &job:* &run:* &project:* ~limit:* ~bull:* -@all +publish")),
    ("a word that ElastiCache does not know", "cache", DATA, prop("WorkerUser", "AccessString", "on resetchannels &test:* &job:* &run:* &project:* nocommands +publish")),
    ("a user without what it had before", "cache", DATA, prop("WorkerUser", "AccessString", "reset on resetchannels &test:* &job:* &run:* &project:* -@all +publish")),
    ("selectors for version 6", "cache", DATA, prop("CacheNodes", "EngineVersion", "6.2")),
    ("a user whose id is not its name", "cache", DATA, prop("WorkerUser", "UserName", "worker")),
    ("a cache without TLS", "cache", DATA, prop("CacheNodes", "TransitEncryptionEnabled", False)),
    ("a replica that is smaller", "database", DATA, prop("DatabaseReplica", "PromotionTier", 2)),
    ("data by AWS's key", "database", DATA, prop("OwnerSecret", "KmsKeyId", None)),
    ("an alarm on a cache's name for nodes", "alarms", DATA, prop("CacheThrottled", "Dimensions", 0, "Name", "CacheClusterId")),
    ("a password that breaks its URL", "database", DATA, prop("OwnerSecret", "GenerateSecretString", "ExcludePunctuation", None)),
    ("a proxy that keeps the frozen", "database", DATA, prop("Proxy", "IdleClientTimeout", None)),
    ("a proxy whose own connections are closed", "database", DATA, prop("ProxyTarget", "ConnectionPoolConfigurationInfo", None)),
    ("a proxy without TLS", "database", DATA, prop("Proxy", "RequireTLS", False)),
    ("a server that lacks what ingest may", "cache", DATA, prop("ServerUser", "AccessString", {"Fn::Sub": "on resetchannels &test:* -@all +subscribe"})),
    ("updates that stay behind", "cloudfront", APPLICATION, prop(*DISTRIBUTION, "Origins", 4, "DomainName", {"Fn::Select": [2, {"Fn::Split": ["/", {"Fn::GetAtt": ["IngestUrl", "FunctionUrl"]}]}]})),
    # The server.
    ("a stop before the grace ends", "times", SERVICE, prop(*CONTAINER, "StopTimeout", 30)),
    ("a stop that Fargate refuses", "times", SERVICE, prop(*CONTAINER, "StopTimeout", 180)),
    ("a balancer that cuts what drains", "times", SERVICE, prop("Targets", "TargetGroupAttributes", 0, "Value", "60")),
    ("a balancer that cuts between pings", "times", SERVICE, prop("Balancer", "LoadBalancerAttributes", 0, "Value", "20")),
    ("a server that is root", "task", SERVICE, prop(*CONTAINER, "User", None)),
    ("a server of the other architecture", "task", SERVICE, prop("Task", "RuntimePlatform", "CpuArchitecture", "X86_64")),
    ("a server's logs for ever", "task", SERVICE, prop("Logs", "RetentionInDays", None)),
    ("a deployment with half of the tasks", "task", SERVICE, prop("Service", "DeploymentConfiguration", "MinimumHealthyPercent", 50)),
    ("a variable that nothing reads", "variables", SERVICE, prop(*CONTAINER, "Environment", 0, "Name", "REGION")),
    ("a setting of the functions that it lacks", "variables", SERVICE, prop(*CONTAINER, "Environment", 10, None)),
    ("an address that anyone can write", "variables", SERVICE, prop(*CONTAINER, "Environment", 5, "Value", "2")),
    ("metrics for everybody", "balancer", SERVICE, prop("Api", "Conditions", 0, "PathPatternConfig", "Values", ["/*"])),
    ("tokens in the clear", "balancer", SERVICE, prop("Listener", "Protocol", "HTTP")),
    ("a failover that ends every stream", "balancer", SERVICE, prop("Targets", "UnhealthyThresholdCount", 2)),
    ("tasks that anybody reaches", "network", SERVICE, prop("TaskGroup", *INGRESS, {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "CidrIp": "0.0.0.0/0"})),
    ("one zone", "network", SERVICE, prop("PublicB", "AvailabilityZone", "Fn::If", [
        "ZonesNamed", {"Fn::Select": [0, {"Ref": "AvailabilityZones"}]}, {"Fn::Select": [0, {"Fn::GetAZs": ""}]}])),
    ("a server that reads every secret", "rights", SERVICE, prop("ExecutionRole", "Policies", 0, "Fn::If", 1, "PolicyDocument", "Statement", 0, "Resource", "*")),
    ("a scaling by requests", "scaling", SERVICE, prop("ByConnections", "TargetTrackingScalingPolicyConfiguration", {
        "TargetValue": 1000, "PredefinedMetricSpecification": {"PredefinedMetricType": "ALBRequestCountPerTarget"}})),
    ("an alarm on what is not counted", "alarms", SERVICE, prop("NotReached", "MetricName", "HTTPCode_5XX_Count")),
    ("an output that the data has not", "parameters", SERVICE, put("Parameters", "RedisUrl", "Description", "new data: its output CacheUrl")),
    ("tasks that cost more", "cost", SERVICE, prop("Task", "Cpu", "1024")),
    ("a size that Fargate has not", "cfn-lint", SERVICE, prop("Task", "Memory", "512000")),
]  # fmt: skip


def found(catcher, application, data, server, path):
    """What this catcher finds wrong."""
    try:
        translated = translate(application)
    except Exception as error:  # whatever SAM raises, it refuses the template
        return [str(error)] if catcher == "SAM" else []
    if catcher == "cfn-lint":
        linted = json.dumps({APPLICATION: translated, DATA: data, SERVICE: server}[path])
        matches = lint(linted, config=ManualArgs(regions=[REGION]))
        return [f"{match.rule.id} {match.message}" for match in matches if match.rule.id[0] == "E"]
    if path == SERVICE:
        return service.check(server, data, translated, only=catcher)
    return rules.check(translated, data, only=catcher)


def said(index):
    """What the linters say of a mistake."""
    _, catcher, path, change = MISTAKES[index]
    application, data, server = map(load, (APPLICATION, DATA, SERVICE))
    change({APPLICATION: application, DATA: data, SERVICE: server}[path])
    return found(catcher, application, data, server, path)


def uncaught():
    """The mistakes that are not caught where they should be; prints what is said of each."""
    missed = []
    # Forked: a change is a function, which no other process could be sent.
    with ProcessPoolExecutor(mp_context=get_context("fork")) as processes:
        for (name, *_), messages in zip(MISTAKES, processes.map(said, range(len(MISTAKES)))):
            print(f"  {name}: {messages[0].splitlines()[0][:120] if messages else 'NOT CAUGHT'}", flush=True)
            if not messages:
                missed.append(name)
    return missed
