locals {
  streams = toset(["test-status", "job-status", "queue-stats"])
  # Those that have a URL.
  called = local.api ? toset([]) : setunion(local.streams, ["ingest"])

  functions = merge(
    {
      worker = {
        description = "Takes status updates, commits them, tells Redis"
        role        = "worker", timeout = 30, memory = 256, attached = true
        reserved    = var.worker_reserved ? var.worker_concurrency : -1
      }
      ingest = {
        description = "Takes status updates from whoever has a token, commits them, tells Redis"
        role        = "ingest", timeout = 30, memory = 256, attached = true
        reserved    = var.ingest_concurrency > 0 ? var.ingest_concurrency : -1
      }
    },
    {
      for name, what in { test-status = "status of tests", job-status = "status of job runs", queue-stats = "statistics of queues" } : name => {
        # The most time that Lambda gives; a stream ends at its window, well before.
        role        = name == "queue-stats" ? name : "status", timeout = 900, memory = var.stream_memory_megabytes, attached = true
        description = "Streams the ${what}"
        reserved    = var.stream_concurrency > 0 ? var.stream_concurrency : -1
      }
    },
    # In no VPC: what there is to tell, the worker reads. Two at once would tell the same twice.
    !local.told ? {} : {
      notify = {
        description = "Tells an event bus and a webhook of runs that have ended"
        role        = "notify", timeout = 60, memory = 128, attached = false
        reserved    = var.worker_reserved ? 1 : -1
      }
    },
  )

  # Lambda's environment is text.
  database = {
    DATABASE_IAM_AUTH     = tostring(var.database_iam_auth)
    DATABASE_CA_FILE      = var.database_ca_file
    DATABASE_PROXY        = tostring(var.database_behind_proxy)
    DATABASE_IDLE_SECONDS = tostring(var.database_idle_seconds)
  }
  tokens = {
    AUTH_JWKS                            = var.auth_jwks
    AUTH_ISSUER                          = var.auth_issuer
    AUTH_AUDIENCE                        = var.auth_audience
    AUTH_CLAIM_ORG                       = var.auth_claim_org
    AUTH_CLAIM_PROJECTS                  = var.auth_claim_projects
    AUTH_CLAIM_SCOPE                     = var.auth_claim_scope
    CONNECTS_PER_MINUTE                  = tostring(var.connects_per_minute)
    AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH = "true"
  }
  streaming = merge(local.tokens, {
    REDIS_URL                      = var.streams_redis_url
    REDIS_IAM_USER                 = var.streams_redis_iam_user
    CORS_ALLOWED_ORIGINS           = var.cors_allowed_origins
    STREAM_WINDOW_SECONDS          = tostring(var.stream_window_seconds)
    STREAM_HEARTBEAT_SECONDS       = tostring(var.stream_heartbeat_seconds)
    STREAM_FLUSH_BYTES             = tostring(var.stream_flush_bytes)
    FALLBACK_POLL_SECONDS          = tostring(var.fallback_poll_seconds)
    FALLBACK_POLL_DEGRADED_SECONDS = tostring(var.fallback_poll_degraded_seconds)
    SETTLE_SECONDS                 = tostring(var.settle_seconds)
    STREAMS_PER_SUBJECT            = tostring(var.streams_per_subject)
    OTEL_EXPORTER_OTLP_ENDPOINT    = var.otlp_endpoint
  })
  status = merge(local.streaming, local.database, {
    DATABASE_URL     = var.streams_database_url
    ARTIFACTS_BUCKET = var.artifacts_bucket
  })
  variables = {
    test-status = local.status
    job-status  = local.status
    queue-stats = merge(local.streaming, {
      QUEUE_REDIS_URL  = var.queue_redis_url
      QUEUE_NAMES      = var.queue_names
      QUEUE_PREFIX     = var.queue_prefix
      RUNNING_CAPACITY = tostring(var.running_capacity)
      QUEUED_CAPACITY  = tostring(var.queued_capacity)
    })
    worker = merge(local.database, {
      REDIS_URL                   = var.worker_redis_url
      REDIS_IAM_USER              = var.worker_redis_iam_user
      DATABASE_URL                = var.worker_database_url
      STALLED_AFTER_SECONDS       = tostring(var.stalled_after_seconds)
      OTEL_EXPORTER_OTLP_ENDPOINT = var.otlp_endpoint
    })
    ingest = merge(local.tokens, local.database, {
      REDIS_URL                   = var.ingest_redis_url != "" ? var.ingest_redis_url : var.worker_redis_url
      REDIS_IAM_USER              = var.ingest_redis_iam_user
      DATABASE_URL                = var.worker_database_url
      STALLED_AFTER_SECONDS       = tostring(var.stalled_after_seconds)
      UPDATES_PER_MINUTE          = tostring(var.updates_per_minute)
      OTEL_EXPORTER_OTLP_ENDPOINT = var.otlp_endpoint
    })
    notify = {
      WORKER_FUNCTION = "${var.name}-worker"
      EVENT_BUS       = var.event_bus
      WEBHOOK_URL     = var.webhook_url
      WEBHOOK_SECRET  = var.webhook_secret
      NOTIFY_CHANGES  = var.notify_changes
    }
  }
}

# Amazon's own certificate authorities for RDS, which no public root signs.
resource "aws_lambda_layer_version" "roots" {
  layer_name               = "${var.name}-roots"
  filename                 = "${local.artifacts}/roots.zip"
  source_code_hash         = filebase64sha256("${local.artifacts}/roots.zip")
  compatible_architectures = ["x86_64", "arm64"]
  compatible_runtimes      = ["provided.al2023"]
}

resource "aws_cloudwatch_log_group" "this" {
  for_each          = toset(concat(keys(local.functions), ["migrate"]))
  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key
}

resource "aws_lambda_function" "migrate" {
  function_name    = "${var.name}-migrate"
  description      = "Brings the schema to this version at each deployment; prunes once a day"
  filename         = "${local.artifacts}/migrate.zip"
  source_code_hash = filebase64sha256("${local.artifacts}/migrate.zip")
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  layers           = [aws_lambda_layer_version.roots.arn]
  role             = aws_iam_role.this["migrate"].arn
  # A long prune.
  timeout     = 900
  memory_size = 128
  kms_key_arn = local.kms_key

  environment {
    variables = {
      DATABASE_URL     = var.owner_database_url
      DATABASE_CA_FILE = var.database_ca_file
      RUST_LOG         = var.log_level
    }
  }
  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.this["migrate"].name
  }
  tracing_config {
    mode = var.tracing
  }
  dynamic "vpc_config" {
    for_each = local.attached ? [1] : []
    content {
      subnet_ids         = var.vpc_subnet_ids
      security_group_ids = var.vpc_security_group_ids
    }
  }
  depends_on = [aws_iam_role_policy_attachment.this]
}

# New code migrates, and so does another database.
resource "aws_lambda_invocation" "schema" {
  function_name = aws_lambda_function.migrate.function_name
  input         = jsonencode({ action = "migrate" })
  triggers = {
    code     = aws_lambda_function.migrate.source_code_hash
    database = nonsensitive(split("@", "${var.owner_database_url}@")[1])
  }
}

resource "aws_lambda_function" "this" {
  for_each                       = local.functions
  function_name                  = "${var.name}-${each.key}"
  description                    = each.value.description
  filename                       = "${local.artifacts}/${each.key}.zip"
  source_code_hash               = filebase64sha256("${local.artifacts}/${each.key}.zip")
  runtime                        = "provided.al2023"
  handler                        = "bootstrap"
  architectures                  = [var.architecture]
  layers                         = [aws_lambda_layer_version.roots.arn]
  role                           = aws_iam_role.this[each.value.role].arn
  timeout                        = each.value.timeout
  memory_size                    = each.value.memory
  reserved_concurrent_executions = each.value.reserved
  kms_key_arn                    = local.kms_key

  environment {
    variables = merge(
      local.variables[each.key],
      { RUST_LOG = var.log_level },
      each.value.attached ? { REDIS_CLUSTER = tostring(var.redis_cluster) } : {},
    )
  }
  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.this[each.key].name
  }
  tracing_config {
    mode = var.tracing
  }
  dynamic "vpc_config" {
    for_each = each.value.attached && local.attached ? [1] : []
    content {
      subnet_ids         = var.vpc_subnet_ids
      security_group_ids = var.vpc_security_group_ids
    }
  }
  # New code needs the new schema; old code works with it.
  depends_on = [aws_lambda_invocation.schema, aws_iam_role_policy_attachment.this, aws_iam_role_policy.this]
}

# The next one tells what this one could not.
resource "aws_lambda_function_event_invoke_config" "notify" {
  count                        = local.told ? 1 : 0
  function_name                = aws_lambda_function.this["notify"].function_name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
}

# ingest's is open also behind CloudFront: nobody gets in without a token (docs/operations.md).
resource "aws_lambda_function_url" "this" {
  for_each           = local.called
  function_name      = aws_lambda_function.this[each.key].function_name
  invoke_mode        = "RESPONSE_STREAM"
  authorization_type = local.cloudfront && each.key != "ingest" ? "AWS_IAM" : "NONE"
}

# A URL needs both permissions.
# https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
resource "aws_lambda_permission" "url" {
  for_each               = local.called
  function_name          = aws_lambda_function.this[each.key].function_name
  action                 = "lambda:InvokeFunctionUrl"
  function_url_auth_type = aws_lambda_function_url.this[each.key].authorization_type
  principal              = local.cloudfront && each.key != "ingest" ? "cloudfront.amazonaws.com" : "*"
  source_arn             = local.cloudfront && each.key != "ingest" ? aws_cloudfront_distribution.edge[0].arn : null
}

resource "aws_lambda_permission" "url_invoke" {
  for_each                 = local.called
  function_name            = aws_lambda_function.this[each.key].function_name
  action                   = "lambda:InvokeFunction"
  invoked_via_function_url = true
  principal                = local.cloudfront && each.key != "ingest" ? "cloudfront.amazonaws.com" : "*"
  source_arn               = local.cloudfront && each.key != "ingest" ? aws_cloudfront_distribution.edge[0].arn : null
}
