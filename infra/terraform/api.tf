# Streams with responseTransferMode STREAM and the path of InvokeWithResponseStream.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html
locals {
  api    = var.front == "api-gateway"
  binary = ["application/json"]
  api_paths = {
    "/api/test-status/{proxy+}" = "test-status"
    "/api/job-status/{proxy+}"  = "job-status"
    "/api/runs"                 = "job-status"
    "/api/runs/{proxy+}"        = "job-status"
    "/api/queue-stats/{proxy+}" = "queue-stats"
    "/api/updates"              = "ingest"
    "/api/updates/{proxy+}"     = "ingest"
  }
  # What may be called of a function through it.
  api_calls = !local.api ? {} : {
    test-status = { function = "test-status", path = "/api/test-status/*" }
    job-status  = { function = "job-status", path = "/api/job-status/*" }
    runs        = { function = "job-status", path = "/api/runs*" }
    queue-stats = { function = "queue-stats", path = "/api/queue-stats/*" }
    ingest      = { function = "ingest", path = "/api/updates*" }
  }
}

resource "aws_api_gateway_rest_api" "api" {
  count = local.api ? 1 : 0
  name  = var.name
  # Else what is packed by gzip would come as broken text.
  binary_media_types = local.binary
  endpoint_configuration {
    types = ["REGIONAL"]
  }
  body = jsonencode({
    openapi = "3.0.1"
    info    = { title = "runcast", version = "1" }

    x-amazon-apigateway-binary-media-types = local.binary
    paths = {
      for path, function in local.api_paths : path => {
        x-amazon-apigateway-any-method = merge(
          !endswith(path, "{proxy+}") ? {} : { parameters = [{ name = "proxy", in = "path", required = true, schema = { type = "string" } }] },
          {
            x-amazon-apigateway-integration = {
              type                 = "aws_proxy"
              httpMethod           = "POST"
              responseTransferMode = "STREAM"
              timeoutInMillis      = 900000
              uri                  = aws_lambda_function.this[function].response_streaming_invoke_arn
            }
          },
        )
      }
    }
  })
}

# A deployment is a snapshot: a changed definition goes live by another.
resource "aws_api_gateway_deployment" "api" {
  count       = local.api ? 1 : 0
  rest_api_id = aws_api_gateway_rest_api.api[0].id
  triggers    = { definition = sha1(aws_api_gateway_rest_api.api[0].body) }
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_stage" "live" {
  count                = local.api ? 1 : 0
  rest_api_id          = aws_api_gateway_rest_api.api[0].id
  deployment_id        = aws_api_gateway_deployment.api[0].id
  stage_name           = "live"
  xray_tracing_enabled = var.tracing == "Active"
  dynamic "access_log_settings" {
    for_each = var.api_access_logs ? [1] : []
    content {
      destination_arn = aws_cloudwatch_log_group.api[0].arn
      # Without the query, which may hold a token.
      format = jsonencode({
        time         = "$context.requestTime"
        address      = "$context.identity.sourceIp"
        method       = "$context.httpMethod"
        path         = "$context.path"
        status       = "$context.status"
        milliseconds = "$context.responseLatency"
        request      = "$context.requestId"
      })
    }
  }
}

resource "aws_api_gateway_method_settings" "live" {
  count       = local.api ? 1 : 0
  rest_api_id = aws_api_gateway_rest_api.api[0].id
  stage_name  = aws_api_gateway_stage.live[0].stage_name
  method_path = "*/*"
  settings {
    throttling_rate_limit  = 500
    throttling_burst_limit = 1000
  }
}

resource "aws_lambda_permission" "api" {
  for_each      = local.api_calls
  function_name = aws_lambda_function.this[each.value.function].function_name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_api_gateway_rest_api.api[0].execution_arn}/*/*${each.value.path}"
}

resource "aws_cloudwatch_log_group" "api" {
  count             = local.api && var.api_access_logs ? 1 : 0
  name              = "/aws/apigateway/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key
}

resource "aws_api_gateway_domain_name" "api" {
  count                    = local.api && var.domain_name != "" ? 1 : 0
  domain_name              = var.domain_name
  regional_certificate_arn = var.certificate_arn
  security_policy          = "TLS_1_2"
  endpoint_configuration {
    types = ["REGIONAL"]
  }
}

# At the root: addresses do not begin with the stage.
resource "aws_api_gateway_base_path_mapping" "api" {
  count       = local.api && var.domain_name != "" ? 1 : 0
  domain_name = aws_api_gateway_domain_name.api[0].domain_name
  api_id      = aws_api_gateway_rest_api.api[0].id
  stage_name  = aws_api_gateway_stage.live[0].stage_name
}

resource "aws_route53_record" "api" {
  count   = local.api && var.hosted_zone_id != "" ? 1 : 0
  zone_id = var.hosted_zone_id
  name    = var.domain_name
  type    = "A"
  alias {
    name                   = aws_api_gateway_domain_name.api[0].regional_domain_name
    zone_id                = aws_api_gateway_domain_name.api[0].regional_zone_id
    evaluate_target_health = false
  }
}

resource "aws_wafv2_web_acl_association" "api" {
  count        = local.api && var.web_acl_arn != "" ? 1 : 0
  web_acl_arn  = var.web_acl_arn
  resource_arn = aws_api_gateway_stage.live[0].arn
}
