# What a person must act on, and what there is to see: as the release's template has them.
locals {
  # Its names for what is made here.
  functions_named = { for name, made in local.every_function : replace(title(replace(name, "-", " ")), " ", "") => made.function_name }
  queues_named    = { Updates = aws_sqs_queue.updates.name, DeadUpdates = aws_sqs_queue.dead_updates.name }
  alarms = {
    for name, resource in local.template.Resources : name => resource.Properties
    if resource.Type == "AWS::CloudWatch::Alarm" && contains(local.told ? ["", "Told"] : [""], try(resource.Condition, ""))
  }
  dashboard = replace(local.template.Resources.Overview.Properties.DashboardBody["Fn::Sub"], "AWS::Region", "Region")
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.AlarmDescription
  alarm_actions       = var.alarm_topic_arn != "" ? [var.alarm_topic_arn] : []
  ok_actions          = var.alarm_topic_arn != "" ? [var.alarm_topic_arn] : []
  comparison_operator = each.value.ComparisonOperator
  threshold           = each.value.Threshold
  evaluation_periods  = each.value.EvaluationPeriods
  treat_missing_data  = each.value.TreatMissingData

  namespace          = try(each.value.Namespace, null)
  metric_name        = try(each.value.MetricName, null)
  statistic          = try(each.value.Statistic, null)
  extended_statistic = try(each.value.ExtendedStatistic, null)
  period             = try(each.value.Period, null)
  dimensions = !can(each.value.Dimensions) ? null : {
    for dimension in each.value.Dimensions :
    dimension.Name => try(local.functions_named[dimension.Value.Ref], local.queues_named[dimension.Value["Fn::GetAtt"][0]])
  }

  dynamic "metric_query" {
    for_each = try(each.value.Metrics, [])
    content {
      id          = metric_query.value.Id
      return_data = metric_query.value.ReturnData
      expression  = try(metric_query.value.Expression, null)
      label       = try(metric_query.value.Label, null)
      dynamic "metric" {
        for_each = try([metric_query.value.MetricStat], [])
        content {
          namespace   = metric.value.Metric.Namespace
          metric_name = metric.value.Metric.MetricName
          stat        = metric.value.Stat
          period      = metric.value.Period
          dimensions = {
            for dimension in metric.value.Metric.Dimensions :
            dimension.Name => try(local.functions_named[dimension.Value.Ref], dimension.Value)
          }
        }
      }
    }
  }
}

resource "aws_cloudwatch_dashboard" "overview" {
  dashboard_name = "${var.name}-${local.region}"
  dashboard_body = templatestring(local.dashboard, merge(local.functions_named, {
    Region      = local.region
    Updates     = { QueueName = local.queues_named.Updates }
    DeadUpdates = { QueueName = local.queues_named.DeadUpdates }
  }))
}
