output "updates_queue_url" {
  description = "Where producers send updates"
  value       = aws_sqs_queue.updates.url
}

output "updates_queue_arn" {
  description = "The same, for the policies of other accounts"
  value       = aws_sqs_queue.updates.arn
}

output "producer_policy" {
  description = "The managed policy for the roles of this account that send updates"
  value       = aws_iam_policy.producer.arn
}

output "dead_updates_queue_url" {
  description = "What was given up"
  value       = aws_sqs_queue.dead_updates.url
}

output "updates_mapping" {
  description = "What gives the worker the updates"
  value       = aws_lambda_event_source_mapping.updates.id
}

output "dead_updates_mapping" {
  description = "What gives it those that were given up, once it is enabled"
  value       = aws_lambda_event_source_mapping.dead_updates.id
}

output "worker_function" {
  description = "For direct invocation by producers"
  value       = aws_lambda_function.this["worker"].function_name
}

output "migrate_function" {
  description = "Migrates and prunes by hand"
  value       = aws_lambda_function.migrate.function_name
}

output "test_status_address" {
  description = "The function URL of test-status; behind CloudFront it answers nobody else"
  value       = local.api ? null : aws_lambda_function_url.this["test-status"].function_url
}

output "job_status_address" {
  description = "The function URL of job-status; behind CloudFront it answers nobody else"
  value       = local.api ? null : aws_lambda_function_url.this["job-status"].function_url
}

output "queue_stats_address" {
  description = "The function URL of queue-stats; behind CloudFront it answers nobody else"
  value       = local.api ? null : aws_lambda_function_url.this["queue-stats"].function_url
}

output "ingest_address" {
  description = "The function URL of ingest: POST /api/updates"
  value       = local.api ? null : aws_lambda_function_url.this["ingest"].function_url
}

output "api_address" {
  description = "API Gateway"
  value       = local.api ? "https://${aws_api_gateway_rest_api.api[0].id}.execute-api.${local.region}.${data.aws_partition.current.dns_suffix}/${aws_api_gateway_stage.live[0].stage_name}" : null
}

output "edge_address" {
  description = "CloudFront: the dashboard, and every path"
  value       = local.cloudfront ? "https://${aws_cloudfront_distribution.edge[0].domain_name}" : null
}

output "address" {
  description = "What clients call: your own name"
  value       = var.domain_name != "" ? "https://${var.domain_name}" : null
}

output "dashboard_bucket" {
  description = "Where the dashboard's files go"
  value       = local.cloudfront ? aws_s3_bucket.dashboard[0].id : null
}
