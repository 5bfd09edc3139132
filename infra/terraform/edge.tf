locals {
  edge = local.cloudfront ? 1 : 0
  # Where /api goes: the functions, or the service in their place.
  served   = var.service_domain_name != ""
  origins  = merge({ for name in local.streams : name => name }, { updates = "ingest" })
  to_read  = ["GET", "HEAD", "OPTIONS"]
  to_write = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"]
  paths = [
    { path = "/api/test-status/*", origin = "test-status", methods = local.to_write },
    { path = "/api/job-status/*", origin = "job-status", methods = local.to_write },
    { path = "/api/runs*", origin = "job-status", methods = local.to_read },
    { path = "/api/queue-stats/*", origin = "queue-stats", methods = local.to_write },
    { path = "/api/updates*", origin = "updates", methods = local.to_write },
  ]
}

# The dashboard's.
resource "aws_s3_bucket" "dashboard" {
  count         = local.edge
  bucket_prefix = "${var.name}-dashboard-"
}

resource "aws_s3_bucket_public_access_block" "dashboard" {
  count                   = local.edge
  bucket                  = aws_s3_bucket.dashboard[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "dashboard" {
  count  = local.edge
  bucket = aws_s3_bucket.dashboard[0].id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_ownership_controls" "dashboard" {
  count  = local.edge
  bucket = aws_s3_bucket.dashboard[0].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_policy" "dashboard" {
  count  = local.edge
  bucket = aws_s3_bucket.dashboard[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Service = "cloudfront.amazonaws.com" }
        Action    = "s3:GetObject"
        Resource  = "${aws_s3_bucket.dashboard[0].arn}/*"
        Condition = { StringEquals = { "AWS:SourceArn" = aws_cloudfront_distribution.edge[0].arn } }
      },
      {
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.dashboard[0].arn, "${aws_s3_bucket.dashboard[0].arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

# CloudFront is not of a region, and its names are not either.
resource "aws_cloudfront_origin_access_control" "functions" {
  count                             = local.edge
  name                              = "${var.name}-functions-${local.region}"
  origin_access_control_origin_type = "lambda"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_origin_access_control" "files" {
  count                             = local.edge
  name                              = "${var.name}-files-${local.region}"
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_function" "viewer_requests" {
  count   = local.edge
  name    = "${var.name}-viewer-requests-${local.region}"
  comment = "Who asks; the hash of the empty body"
  runtime = "cloudfront-js-2.0"
  publish = true
  code    = local.template.Resources.ViewerRequests.Properties.FunctionCode
}

resource "aws_cloudfront_response_headers_policy" "dashboard" {
  count = local.edge
  name  = "${var.name}-dashboard-${local.region}"
  security_headers_config {
    content_security_policy {
      override                = true
      content_security_policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: https:; connect-src 'self' https:; frame-ancestors 'none'; base-uri 'none'"
    }
    content_type_options {
      override = true
    }
    frame_options {
      override     = true
      frame_option = "DENY"
    }
    referrer_policy {
      override        = true
      referrer_policy = "no-referrer"
    }
    strict_transport_security {
      override                   = true
      access_control_max_age_sec = 31536000
    }
  }
}

resource "aws_cloudfront_distribution" "edge" {
  count               = local.edge
  enabled             = true
  comment             = var.name
  http_version        = "http2and3"
  is_ipv6_enabled     = true
  default_root_object = "index.html"
  web_acl_id          = var.web_acl_arn != "" ? var.web_acl_arn : null
  aliases             = var.domain_name != "" ? [var.domain_name] : []

  viewer_certificate {
    cloudfront_default_certificate = var.domain_name == "" ? true : null
    acm_certificate_arn            = var.domain_name != "" ? var.certificate_arn : null
    ssl_support_method             = var.domain_name != "" ? "sni-only" : null
    minimum_protocol_version       = var.domain_name != "" ? "TLSv1.2_2021" : null
  }
  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }
  # CloudFront's logs have the query, so tokens in `?token=`, which live for 300 s at most.
  dynamic "logging_config" {
    for_each = var.access_log_bucket != "" ? [1] : []
    content {
      bucket          = "${var.access_log_bucket}.s3.${data.aws_partition.current.dns_suffix}"
      prefix          = "${var.name}/"
      include_cookies = false
    }
  }
  # Without these one viewer's 503 is everybody's at that path for 10 s.
  dynamic "custom_error_response" {
    for_each = [405, 500, 502, 503, 504]
    content {
      error_code            = custom_error_response.value
      error_caching_min_ttl = 0
    }
  }

  origin {
    origin_id                = "dashboard"
    domain_name              = aws_s3_bucket.dashboard[0].bucket_regional_domain_name
    origin_access_control_id = aws_cloudfront_origin_access_control.files[0].id
  }
  dynamic "origin" {
    for_each = local.origins
    content {
      origin_id                = origin.key
      domain_name              = local.served ? var.service_domain_name : split("/", aws_lambda_function_url.this[origin.value].function_url)[2]
      origin_access_control_id = local.served || origin.value == "ingest" ? null : aws_cloudfront_origin_access_control.functions[0].id
      custom_origin_config {
        http_port              = 80
        https_port             = 443
        origin_protocol_policy = "https-only"
        origin_ssl_protocols   = ["TLSv1.2"]
        # The longest silence: twice the longest heartbeat and more.
        origin_read_timeout      = 60
        origin_keepalive_timeout = 60
      }
    }
  }

  default_cache_behavior {
    target_origin_id       = "dashboard"
    viewer_protocol_policy = "redirect-to-https"
    allowed_methods        = ["GET", "HEAD"]
    cached_methods         = ["GET", "HEAD"]
    compress               = true
    # AWS's policy CachingOptimized.
    cache_policy_id            = "658327ea-f89d-4fab-a63d-7e88639e58f6"
    response_headers_policy_id = aws_cloudfront_response_headers_policy.dashboard[0].id
  }
  dynamic "ordered_cache_behavior" {
    for_each = local.paths
    content {
      path_pattern           = ordered_cache_behavior.value.path
      target_origin_id       = ordered_cache_behavior.value.origin
      viewer_protocol_policy = "https-only"
      allowed_methods        = ordered_cache_behavior.value.methods
      cached_methods         = ["GET", "HEAD"]
      # Compression, and a cache, would hold frames back.
      compress = false
      # AWS's policies CachingDisabled and AllViewerExceptHostHeader: a URL answers to its own host only.
      cache_policy_id          = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
      origin_request_policy_id = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
      dynamic "function_association" {
        for_each = ordered_cache_behavior.value.origin == "updates" ? [] : [1]
        content {
          event_type   = "viewer-request"
          function_arn = aws_cloudfront_function.viewer_requests[0].arn
        }
      }
    }
  }
}

resource "aws_route53_record" "edge" {
  for_each = local.cloudfront && var.hosted_zone_id != "" ? toset(["A", "AAAA"]) : []
  zone_id  = var.hosted_zone_id
  name     = var.domain_name
  type     = each.key
  alias {
    name                   = aws_cloudfront_distribution.edge[0].domain_name
    zone_id                = aws_cloudfront_distribution.edge[0].hosted_zone_id
    evaluate_target_health = false
  }
}
