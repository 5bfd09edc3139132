# What is made depends on these alone; none of them tells a secret.
locals {
  cloudfront = var.front == "cloudfront"
  attached   = length(var.vpc_subnet_ids) > 0
  keyed      = var.kms_key_arn != ""
  kms_key    = local.keyed ? var.kms_key_arn : null
  boundary   = var.permissions_boundary_arn != "" ? var.permissions_boundary_arn : null
  told       = var.event_bus != "" || nonsensitive(var.webhook_url != "")

  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.region
  policies  = "arn:${local.partition}:iam::aws:policy"

  # The release's, as JSON. Its alarms, its dashboard and its text for CloudFront are read from it.
  artifacts = coalesce(var.artifacts, "${path.module}/..")
  template  = jsondecode(file("${local.artifacts}/template.yaml"))
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

# As the template's rules.
resource "terraform_data" "rules" {
  lifecycle {
    precondition {
      condition     = contains(local.template.Parameters.Architecture.AllowedValues, var.architecture)
      error_message = "architecture is not that of the artifacts"
    }
    precondition {
      condition     = (length(var.vpc_subnet_ids) > 0) == (length(var.vpc_security_group_ids) > 0)
      error_message = "vpc_subnet_ids and vpc_security_group_ids need each other"
    }
    precondition {
      condition     = !var.database_iam_auth || var.database_resource_id != ""
      error_message = "database_iam_auth needs database_resource_id"
    }
    precondition {
      condition     = var.cache_arn != "" || "${var.streams_redis_iam_user}${var.worker_redis_iam_user}${var.ingest_redis_iam_user}" == ""
      error_message = "streams_redis_iam_user, worker_redis_iam_user and ingest_redis_iam_user need cache_arn"
    }
    precondition {
      condition     = var.service_domain_name == "" || local.cloudfront
      error_message = "service_domain_name needs front=cloudfront"
    }
    precondition {
      condition     = var.domain_name == "" || var.certificate_arn != ""
      error_message = "domain_name needs certificate_arn"
    }
    precondition {
      condition     = var.domain_name == "" || var.front != "function-urls"
      error_message = "domain_name needs front=cloudfront or front=api-gateway: a function URL has AWS's name only"
    }
    precondition {
      condition     = var.hosted_zone_id == "" || var.domain_name != ""
      error_message = "hosted_zone_id needs domain_name"
    }
    precondition {
      condition     = var.web_acl_arn == "" || var.front != "function-urls"
      error_message = "web_acl_arn needs front=cloudfront or front=api-gateway"
    }
    precondition {
      condition     = !var.api_access_logs || local.api
      error_message = "api_access_logs needs front=api-gateway"
    }
    precondition {
      condition     = var.access_log_bucket == "" || local.cloudfront
      error_message = "access_log_bucket needs front=cloudfront"
    }
    precondition {
      condition     = nonsensitive(var.webhook_url == "" || var.webhook_secret != "")
      error_message = "webhook_url needs webhook_secret"
    }
  }
}
