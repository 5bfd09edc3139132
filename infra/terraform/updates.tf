resource "aws_sqs_queue" "updates" {
  name       = "${var.name}-updates.fifo"
  fifo_queue = true
  # High throughput: limits, and duplicates, count for each execution by itself.
  deduplication_scope   = "messageGroup"
  fifo_throughput_limit = "perMessageGroupId"
  # What the worker hands back waits for the end of it; Lambda refuses less than the worker's time limit.
  visibility_timeout_seconds = 45
  message_retention_seconds  = 1209600
  sqs_managed_sse_enabled    = local.keyed ? null : true
  kms_master_key_id          = local.kms_key
  # Half a day of tries: an outage of Postgres ends before them.
  redrive_policy = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_updates.arn, maxReceiveCount = 1000 })
}

resource "aws_sqs_queue" "dead_updates" {
  name                       = "${var.name}-dead-updates.fifo"
  fifo_queue                 = true
  deduplication_scope        = "messageGroup"
  fifo_throughput_limit      = "perMessageGroupId"
  visibility_timeout_seconds = 45
  message_retention_seconds  = 1209600
  sqs_managed_sse_enabled    = local.keyed ? null : true
  kms_master_key_id          = local.kms_key
}

resource "aws_sqs_queue_policy" "updates" {
  queue_url = aws_sqs_queue.updates.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{ Sid = "TlsOnly", Effect = "Deny", Principal = "*", Action = "sqs:*", Resource = aws_sqs_queue.updates.arn, Condition = { Bool = { "aws:SecureTransport" = "false" } } }],
      length(var.producer_accounts) == 0 ? [] : [{ Sid = "Producers", Effect = "Allow", Principal = { AWS = var.producer_accounts }, Action = "sqs:SendMessage", Resource = aws_sqs_queue.updates.arn }],
    )
  })
}

resource "aws_sqs_queue_policy" "dead_updates" {
  queue_url = aws_sqs_queue.dead_updates.url
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Sid = "TlsOnly", Effect = "Deny", Principal = "*", Action = "sqs:*", Resource = aws_sqs_queue.dead_updates.arn, Condition = { Bool = { "aws:SecureTransport" = "false" } } }]
  })
}

resource "aws_lambda_event_source_mapping" "updates" {
  event_source_arn = aws_sqs_queue.updates.arn
  function_name    = aws_lambda_function.this["worker"].function_name
  # The most of a FIFO queue, which knows no batching window.
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  scaling_config {
    maximum_concurrency = var.worker_concurrency
  }
  lifecycle {
    # Switched off by who gives the worker what was given up (docs/operations.md).
    ignore_changes = [enabled]
  }
}

resource "aws_lambda_event_source_mapping" "dead_updates" {
  event_source_arn        = aws_sqs_queue.dead_updates.arn
  function_name           = aws_lambda_function.this["worker"].function_name
  enabled                 = false
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  scaling_config {
    maximum_concurrency = var.worker_concurrency
  }
  lifecycle {
    ignore_changes = [enabled]
  }
}
