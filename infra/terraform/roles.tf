locals {
  dbuser = "arn:${local.partition}:rds-db:${local.region}:${local.account}:dbuser:${var.database_resource_id}"
  reads  = var.database_iam_auth ? [{ Effect = "Allow", Action = "rds-db:connect", Resource = "${local.dbuser}/runcast_reader" }] : []
  writes = var.database_iam_auth ? [{ Effect = "Allow", Action = "rds-db:connect", Resource = "${local.dbuser}/runcast_writer" }] : []
  # Of the streams, the worker, and ingest.
  redis = {
    for who, user in { streams = var.streams_redis_iam_user, worker = var.worker_redis_iam_user, ingest = var.ingest_redis_iam_user } : who => user == "" ? [] : [{
      Effect   = "Allow"
      Action   = "elasticache:Connect"
      Resource = [var.cache_arn, "arn:${local.partition}:elasticache:${local.region}:${local.account}:user:${user}"]
    }]
  }

  roles = merge(
    {
      migrate     = []
      queue-stats = local.redis.streams
      status = concat(local.redis.streams, local.reads, var.artifacts_bucket == "" ? [] : [
        { Effect = "Allow", Action = "s3:GetObject", Resource = "arn:${local.partition}:s3:::${split("/", var.artifacts_bucket)[0]}/*" },
      ])
      # Lambda reads the queues as this role.
      worker = concat(local.redis.worker, local.writes, local.keyed ? [{ Effect = "Allow", Action = "kms:Decrypt", Resource = var.kms_key_arn }] : [])
      ingest = concat(local.redis.ingest, local.writes)
    },
    !local.told ? {} : {
      notify = concat(
        [{ Effect = "Allow", Action = "lambda:InvokeFunction", Resource = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.name}-worker" }],
        var.event_bus == "" ? [] : [{
          Effect   = "Allow"
          Action   = "events:PutEvents"
          Resource = startswith(var.event_bus, "arn:") ? var.event_bus : "arn:${local.partition}:events:${local.region}:${local.account}:event-bus/${var.event_bus}"
        }],
      )
    },
  )
  attachments = merge([
    for role in keys(local.roles) : {
      for policy in concat(
        [role == "notify" ? "service-role/AWSLambdaBasicExecutionRole" : "service-role/AWSLambdaVPCAccessExecutionRole"],
        role == "worker" ? ["service-role/AWSLambdaSQSQueueExecutionRole"] : [],
        var.tracing == "Active" ? ["AWSXRayDaemonWriteAccess"] : [],
      ) : "${role} ${basename(policy)}" => { role = role, policy = policy }
    }
  ]...)
}

resource "aws_iam_role" "this" {
  for_each             = toset(keys(local.roles))
  name_prefix          = "${var.name}-${each.key}-"
  permissions_boundary = local.boundary
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = { for role, statements in local.roles : role => statements if length(statements) > 0 }
  name     = "runcast"
  role     = aws_iam_role.this[each.key].name
  policy   = jsonencode({ Version = "2012-10-17", Statement = each.value })
}

resource "aws_iam_role_policy_attachment" "this" {
  for_each   = local.attachments
  role       = aws_iam_role.this[each.value.role].name
  policy_arn = "${local.policies}/${each.value.policy}"
}

# For the roles of this account that send updates.
resource "aws_iam_policy" "producer" {
  name_prefix = "${var.name}-producer-"
  description = "Sends status updates to Runcast"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{ Effect = "Allow", Action = "sqs:SendMessage", Resource = aws_sqs_queue.updates.arn }],
      local.keyed ? [{ Effect = "Allow", Action = ["kms:GenerateDataKey", "kms:Decrypt"], Resource = var.kms_key_arn }] : [],
    )
  })
}
