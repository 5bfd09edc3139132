"""Mistakes that someone will make one day in the Terraform module, each of which makes it differ from the template.

Each is a name, the file, what stands there, what will stand there, and where the two then differ.
"""

MISTAKES = [
    ("a worker with less memory", "functions.tf", "timeout = 30, memory = 256", "timeout = 30, memory = 128", ".Worker.memorysize"),
    ("another handler", "functions.tf", 'handler          = "bootstrap"', 'handler          = "main"', ".Migrate.handler"),
    ("a variable that nothing reads", "functions.tf", "STREAM_FLUSH_BYTES ", "STREAM_FLUSH ", ".TestStatus.environment.variables.STREAM_FLUSH"),
    ("one setting for another", "functions.tf", "tostring(var.fallback_poll_seconds)", "tostring(var.settle_seconds)", ".JobStatus.environment.variables.FALLBACK_POLL_SECONDS"),
    ("a worker that logs in as the reader", "functions.tf", "var.worker_redis_iam_user\n      DATABASE_URL                = var.worker_database_url", "var.worker_redis_iam_user\n      DATABASE_URL                = var.streams_database_url", ".Worker.environment.variables.DATABASE_URL"),
    ("a URL that buffers", "functions.tf", '"RESPONSE_STREAM"', '"BUFFERED"', ".TestStatusUrl.invokemode"),
    ("URLs that everybody calls", "functions.tf", 'authorization_type = local.cloudfront && each.key != "ingest"', 'authorization_type = local.cloudfront && each.key == "ingest"', ".JobStatusUrl.authtype"),
    ("two that tell at once", "functions.tf", "var.worker_reserved ? 1 : -1", "-1", ".Notify.reservedconcurrentexecutions"),
    ("logs by AWS's key", "functions.tf", "  kms_key_id        = local.kms_key\n", "", ".WorkerLogs.kmskeyid"),
    ("streams that read any bucket", "roles.tf", '${split("/", var.artifacts_bucket)[0]}/*', "*", ".StatusRole.statements"),
    ("an ingest that logs in as the reader", "roles.tf", "local.redis.ingest, local.writes", "local.redis.ingest, local.reads", ".IngestRole.statements"),
    ("a role without its boundary", "roles.tf", "  permissions_boundary = local.boundary\n", "", ".WorkerRole.permissionsboundary"),
    ("a worker that cannot read its queue", "roles.tf", '["service-role/AWSLambdaSQSQueueExecutionRole"]', "[]", ".WorkerRole.managedpolicyarns"),
    ("producers that may read", "roles.tf", 'Action = "sqs:SendMessage"', 'Action = ["sqs:SendMessage", "sqs:ReceiveMessage"]', ".ProducerPolicy.policydocument"),
    ("updates that are soon given up", "updates.tf", "maxReceiveCount = 1000", "maxReceiveCount = 10", ".Updates.redrivepolicy.maxreceivecount"),
    ("a queue without its order", "updates.tf", '"perMessageGroupId"\n  # What', '"perQueue"\n  # What', ".Updates.fifothroughputlimit"),
    ("dead updates that are taken at once", "updates.tf", "  enabled                 = false\n", "", ".WorkerDeadUpdates.enabled"),
    ("a batch that fails as one", "updates.tf", 'batch_size              = 10\n  function_response_types = ["ReportBatchItemFailures"]\n  scaling_config {\n    maximum_concurrency = var.worker_concurrency\n  }\n  lifecycle {\n    # Switched', "batch_size              = 10\n  scaling_config {\n    maximum_concurrency = var.worker_concurrency\n  }\n  lifecycle {\n    # Switched", ".WorkerUpdates.functionresponsetypes"),
    ("a sweep once an hour", "schedules.tf", 'function = "worker", rate = "rate(1 minute)"', 'function = "worker", rate = "rate(1 hour)"', ".WorkerSweep.scheduleexpression"),
    ("a prune of everything", "schedules.tf", "olderThanDays = var.retention_days", "olderThanDays = 0", ".Prune.targets.input"),
    ("frames that are held back", "edge.tf", "compress = false", "compress = true", ".Distribution.cachebehaviors.0.compress"),
    ("a path to another function", "edge.tf", 'path = "/api/runs*", origin = "job-status"', 'path = "/api/runs*", origin = "test-status"', ".Distribution.cachebehaviors.2.targetoriginid"),
    ("streams that are cached", "edge.tf", "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "658327ea-f89d-4fab-a63d-7e88639e58f6", ".Distribution.cachebehaviors.0.cachepolicyid"),
    ("requests that nobody signs", "edge.tf", 'signing_behavior                  = "always"\n  signing_protocol                  = "sigv4"\n}\n\nresource "aws_cloudfront_origin_access_control" "files"', 'signing_behavior                  = "never"\n  signing_protocol                  = "sigv4"\n}\n\nresource "aws_cloudfront_origin_access_control" "files"', ".FunctionAccess.signingbehavior"),
    ("an API that buffers", "api.tf", 'responseTransferMode = "STREAM"', 'responseTransferMode = "BUFFERED"', ".Api.body.paths./api/runs.x-amazon-apigateway-any-method.x-amazon-apigateway-integration.responsetransfermode"),
    ("an API for everybody's APIs", "api.tf", "${aws_api_gateway_rest_api.api[0].execution_arn}/*/*${each.value.path}", "arn:aws:execute-api:*:*:*", ".RunsApiPermission.sourcearn"),
    ("an API without a limit", "api.tf", "    throttling_rate_limit  = 500\n", "", ".ApiliveStage.methodsettings.throttlingratelimit"),
    ("files that everybody reads", "edge.tf", "  restrict_public_buckets = true\n", "", ".DashboardFiles.publicaccessblockconfiguration"),
    ("an alarm that rings at night", "alarms.tf", "each.value.TreatMissingData", '"breaching"', ".DeadLetters.treatmissingdata"),
    ("an alarm that nobody hears", "alarms.tf", "  ok_actions          = var.alarm_topic_arn != \"\" ? [var.alarm_topic_arn] : []\n", "", ".QueueAge.okactions"),
    ("an output of another queue", "outputs.tf", "value       = aws_sqs_queue.dead_updates.url", "value       = aws_sqs_queue.updates.url", "outputs.dead_updates_queue_url"),
]  # fmt: skip
