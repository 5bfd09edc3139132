locals {
  schedules = merge(
    {
      prune        = { function = "migrate", rate = "rate(1 day)", input = { action = "prune", olderThanDays = var.retention_days }, retries = 2 }
      worker-sweep = { function = "worker", rate = "rate(1 minute)", input = { sweep = true }, retries = 0 }
    },
    local.told ? { notify-each-minute = { function = "notify", rate = "rate(1 minute)", input = {}, retries = 0 } } : {},
  )
  every_function = merge(aws_lambda_function.this, { migrate = aws_lambda_function.migrate })
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each            = local.schedules
  name                = "${var.name}-${each.key}"
  schedule_expression = each.value.rate
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.schedules
  rule     = aws_cloudwatch_event_rule.this[each.key].name
  arn      = local.every_function[each.value.function].arn
  input    = jsonencode(each.value.input)
  retry_policy {
    maximum_retry_attempts = each.value.retries
    # EventBridge's own; the provider would say 0, which it refuses.
    maximum_event_age_in_seconds = 86400
  }
}

resource "aws_lambda_permission" "schedule" {
  for_each      = local.schedules
  function_name = local.every_function[each.value.function].function_name
  action        = "lambda:InvokeFunction"
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.this[each.key].arn
}
