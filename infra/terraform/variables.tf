# Written from the template's parameters by infra/rehearsal/terraform_variables.py.

variable "name" {
  description = "What everything is called after, as the stack's name is"
  type        = string
  default     = "runcast"
  nullable    = false
  validation {
    # Of a role's name, AWS lets 38 characters be chosen.
    condition     = can(regex("^[a-z][a-z0-9-]{0,23}$", var.name))
    error_message = "name is at most 24 of a-z, 0-9 and -"
  }
}

variable "artifacts" {
  description = "The folder of a release, unpacked; without it that which the module is in"
  type        = string
  default     = null
}

variable "architecture" {
  description = "arm64 is a fifth cheaper; building it needs the target aarch64-unknown-linux-gnu"
  type        = string
  default     = "arm64"
  nullable    = false
  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture is one of arm64, x86_64"
  }
}

variable "vpc_subnet_ids" {
  description = "the private subnets to attach the functions to; empty for none"
  type        = list(string)
  default     = []
  nullable    = false
}

variable "vpc_security_group_ids" {
  description = "the functions' security groups"
  type        = list(string)
  default     = []
  nullable    = false
}

variable "streams_redis_url" {
  description = "the streaming functions' redis:// or rediss:// URL"
  type        = string
  sensitive   = true
  nullable    = false
  validation {
    condition     = length(var.streams_redis_url) >= 1
    error_message = "streams_redis_url is given"
  }
}

variable "worker_redis_url" {
  description = "the worker's, which may publish and no more"
  type        = string
  sensitive   = true
  nullable    = false
  validation {
    condition     = length(var.worker_redis_url) >= 1
    error_message = "worker_redis_url is given"
  }
}

variable "ingest_redis_url" {
  description = "ingest's, which may publish, and keep the limits' keys; empty for the worker's, which then needs that, too"
  type        = string
  default     = ""
  sensitive   = true
  nullable    = false
}

variable "redis_cluster" {
  description = "true where the URL is a cluster's"
  type        = bool
  default     = false
  nullable    = false
}

variable "streams_redis_iam_user" {
  description = "the streaming functions' ElastiCache user, for IAM authentication; empty for the URL's password"
  type        = string
  default     = ""
  nullable    = false
}

variable "worker_redis_iam_user" {
  description = "the worker's"
  type        = string
  default     = ""
  nullable    = false
}

variable "ingest_redis_iam_user" {
  description = "ingest's"
  type        = string
  default     = ""
  nullable    = false
}

variable "cache_arn" {
  description = "the cache's ARN, where IAM authentication is used"
  type        = string
  default     = ""
  nullable    = false
}

variable "streams_database_url" {
  description = "postgres:// URL of the role runcast_reader"
  type        = string
  sensitive   = true
  nullable    = false
  validation {
    condition     = length(var.streams_database_url) >= 1
    error_message = "streams_database_url is given"
  }
}

variable "worker_database_url" {
  description = "postgres:// URL of the role runcast_writer"
  type        = string
  sensitive   = true
  nullable    = false
  validation {
    condition     = length(var.worker_database_url) >= 1
    error_message = "worker_database_url is given"
  }
}

variable "owner_database_url" {
  description = "postgres:// URL of the schema's owner, by password; only the function migrate has it"
  type        = string
  sensitive   = true
  nullable    = false
  validation {
    condition     = can(regex("^((postgres(ql)?://[^@]+@[^@]+)?)$", var.owner_database_url)) && length(var.owner_database_url) >= 1
    error_message = "owner_database_url is postgres://user:password@host/database and given"
  }
}

variable "database_iam_auth" {
  description = "true where runcast_reader and runcast_writer log in by IAM; their URLs then hold no password"
  type        = bool
  default     = false
  nullable    = false
}

variable "database_resource_id" {
  description = "cluster-… or prx-…, where IAM authentication is used"
  type        = string
  default     = ""
  nullable    = false
}

variable "database_ca_file" {
  description = "/opt/rds-ca.pem for RDS without a proxy, whose certificates no public root signs"
  type        = string
  default     = ""
  nullable    = false
  validation {
    condition     = contains(["", "/opt/rds-ca.pem"], var.database_ca_file)
    error_message = "database_ca_file is one of nothing, /opt/rds-ca.pem"
  }
}

variable "database_behind_proxy" {
  description = "true where RDS Proxy, PgBouncer or another that shares connections is what streams_database_url and worker_database_url name"
  type        = bool
  default     = false
  nullable    = false
}

variable "auth_jwks" {
  description = "The keys of the tokens: a JSON Web Key Set, or the https:// address of one or of an issuer's /.well-known/openid-configuration, or several with spaces between"
  type        = string
  sensitive   = true
  nullable    = false
  validation {
    condition     = length(var.auth_jwks) >= 10
    error_message = "auth_jwks is at least 10 characters"
  }
}

variable "auth_issuer" {
  description = "The iss of the tokens; of several addresses, each one's, with spaces between"
  type        = string
  nullable    = false
  validation {
    condition     = length(var.auth_issuer) >= 1
    error_message = "auth_issuer is given"
  }
}

variable "auth_audience" {
  description = "Their aud"
  type        = string
  default     = "runcast"
  nullable    = false
}

variable "auth_claim_org" {
  description = "What the claim is called that says whose executions a token sees"
  type        = string
  default     = "org"
  nullable    = false
  validation {
    condition     = length(var.auth_claim_org) >= 1
    error_message = "auth_claim_org is given"
  }
}

variable "auth_claim_projects" {
  description = "What the claim is called that says which projects, such as cognito:groups"
  type        = string
  default     = "projects"
  nullable    = false
  validation {
    condition     = length(var.auth_claim_projects) >= 1
    error_message = "auth_claim_projects is given"
  }
}

variable "auth_claim_scope" {
  description = "What the claim is called that says what may be done"
  type        = string
  default     = "scope"
  nullable    = false
  validation {
    condition     = length(var.auth_claim_scope) >= 1
    error_message = "auth_claim_scope is given"
  }
}

variable "cors_allowed_origins" {
  description = "Origins that browsers call from, comma separated; none is needed behind CloudFront"
  type        = string
  default     = ""
  nullable    = false
}

variable "artifacts_bucket" {
  description = "The bucket of this region whose objects are read through a test's s3Url; NAME/{org} where an organization reads only what is below its id; empty for none"
  type        = string
  default     = ""
  nullable    = false
  validation {
    condition     = can(regex("^(([a-z0-9.-]{3,63}(/\\{org\\})?)?)$", var.artifacts_bucket))
    error_message = "artifacts_bucket is the name of a bucket, or NAME/{org}"
  }
}

variable "streams_per_subject" {
  description = "How many streams one subject holds at once; beyond, its oldest ends"
  type        = number
  default     = 20
  nullable    = false
  validation {
    condition     = var.streams_per_subject >= 1
    error_message = "streams_per_subject is at least 1"
  }
}

variable "connects_per_minute" {
  description = "How often one subject connects anew in a minute"
  type        = number
  default     = 120
  nullable    = false
  validation {
    condition     = var.connects_per_minute >= 1
    error_message = "connects_per_minute is at least 1"
  }
}

variable "updates_per_minute" {
  description = "How many updates one subject sends over HTTP in a minute"
  type        = number
  default     = 60000
  nullable    = false
  validation {
    condition     = var.updates_per_minute >= 1 && var.updates_per_minute <= 1000000
    error_message = "updates_per_minute is at least 1 and at most 1000000"
  }
}

variable "stream_window_seconds" {
  description = "The longest a stream lives; at most the functions' time limit less a margin"
  type        = number
  default     = 120
  nullable    = false
  validation {
    condition     = var.stream_window_seconds >= 10 && var.stream_window_seconds <= 840
    error_message = "stream_window_seconds is at least 10 and at most 840"
  }
}

variable "settle_seconds" {
  description = "How long the stream of a run that has ended waits for its tests' ends"
  type        = number
  default     = 10
  nullable    = false
  validation {
    condition     = var.settle_seconds >= 0 && var.settle_seconds <= 840
    error_message = "settle_seconds is at least 0 and at most 840"
  }
}

variable "stalled_after_seconds" {
  description = "How long a running execution may be silent that says nothing of it: then it is stale, after twice as long it has ended; 0: for ever"
  type        = number
  default     = 21600
  nullable    = false
  validation {
    condition     = var.stalled_after_seconds >= 0 && var.stalled_after_seconds <= 31536000
    error_message = "stalled_after_seconds is at least 0 and at most 31536000"
  }
}

variable "stream_heartbeat_seconds" {
  description = "Silence before a ping; below every idle timeout on the way (API Gateway's is the shortest, 30 s at the edge)"
  type        = number
  default     = 15
  nullable    = false
  validation {
    condition     = var.stream_heartbeat_seconds >= 1 && var.stream_heartbeat_seconds <= 25
    error_message = "stream_heartbeat_seconds is at least 1 and at most 25"
  }
}

variable "stream_flush_bytes" {
  description = "The size of a comment that follows what none follows at once, where small chunks are held back; 0: none"
  type        = number
  default     = 0
  nullable    = false
  validation {
    condition     = var.stream_flush_bytes >= 0 && var.stream_flush_bytes <= 65536
    error_message = "stream_flush_bytes is at least 0 and at most 65536"
  }
}

variable "fallback_poll_seconds" {
  description = "How often a process with healthy streams asks the log how far it is"
  type        = number
  default     = 15
  nullable    = false
  validation {
    condition     = var.fallback_poll_seconds >= 1 && var.fallback_poll_seconds <= 900
    error_message = "fallback_poll_seconds is at least 1 and at most 900"
  }
}

variable "fallback_poll_degraded_seconds" {
  description = "The same while Redis is away"
  type        = number
  default     = 1
  nullable    = false
  validation {
    condition     = var.fallback_poll_degraded_seconds >= 1 && var.fallback_poll_degraded_seconds <= 4
    error_message = "fallback_poll_degraded_seconds is at least 1 and at most 4"
  }
}

variable "database_idle_seconds" {
  description = "After how long an unused connection is closed"
  type        = number
  default     = 10
  nullable    = false
  validation {
    condition     = var.database_idle_seconds >= 1 && var.database_idle_seconds <= 60
    error_message = "database_idle_seconds is at least 1 and at most 60"
  }
}

variable "stream_memory_megabytes" {
  description = "Memory of the streaming functions; managed instances take 2048"
  type        = number
  default     = 128
  nullable    = false
  validation {
    condition     = var.stream_memory_megabytes >= 128 && var.stream_memory_megabytes <= 10240
    error_message = "stream_memory_megabytes is at least 128 and at most 10240"
  }
}

variable "stream_concurrency" {
  description = "Environments reserved for each streaming function: its share of the account's, and its limit; 0 reserves none"
  type        = number
  default     = 0
  nullable    = false
  validation {
    condition     = var.stream_concurrency >= 0
    error_message = "stream_concurrency is at least 0"
  }
}

variable "worker_concurrency" {
  description = "How many batches the worker takes at once"
  type        = number
  default     = 10
  nullable    = false
  validation {
    condition     = var.worker_concurrency >= 2 && var.worker_concurrency <= 1000
    error_message = "worker_concurrency is at least 2 and at most 1000"
  }
}

variable "worker_reserved" {
  description = "true keeps that many environments for the worker (and one for notify), which viewers could fill otherwise, and is its limit, also for who invokes it directly; needs a quota of 100 more"
  type        = bool
  default     = false
  nullable    = false
}

variable "ingest_concurrency" {
  description = "Environments reserved for ingest: its share of the account's, and its limit, as each holds a connection to Postgres; 0 reserves none"
  type        = number
  default     = 0
  nullable    = false
  validation {
    condition     = var.ingest_concurrency >= 0 && var.ingest_concurrency <= 1000
    error_message = "ingest_concurrency is at least 0 and at most 1000"
  }
}

variable "queue_redis_url" {
  description = "where BullMQ lives, if elsewhere"
  type        = string
  default     = ""
  sensitive   = true
  nullable    = false
}

variable "queue_names" {
  description = "BullMQ queues to count, comma separated"
  type        = string
  default     = ""
  nullable    = false
}

variable "queue_prefix" {
  description = "The prefix of their keys; in a cluster BullMQ needs one in braces, as in {bull}"
  type        = string
  default     = "bull"
  nullable    = false
  validation {
    condition     = can(regex("^(([A-Za-z0-9_-]+|\\{[A-Za-z0-9_-]+\\}))$", var.queue_prefix))
    error_message = "queue_prefix is letters, digits, _ and -; in braces where the queues live in a cluster"
  }
}

variable "running_capacity" {
  description = "How many jobs can run"
  type        = number
  default     = 5
  nullable    = false
  validation {
    condition     = var.running_capacity >= 0
    error_message = "running_capacity is at least 0"
  }
}

variable "queued_capacity" {
  description = "How many can wait"
  type        = number
  default     = 50
  nullable    = false
  validation {
    condition     = var.queued_capacity >= 0
    error_message = "queued_capacity is at least 0"
  }
}

variable "front" {
  description = "What clients call"
  type        = string
  default     = "function-urls"
  nullable    = false
  validation {
    condition     = contains(["function-urls", "cloudfront", "api-gateway"], var.front)
    error_message = "front is one of function-urls, cloudfront, api-gateway"
  }
}

variable "domain_name" {
  description = "CloudFront or API Gateway: the name they answer to as well, such as live.example.com; empty for AWS's"
  type        = string
  default     = ""
  nullable    = false
}

variable "service_domain_name" {
  description = "CloudFront: the name of infra/service.yaml's certificate, which leads to its balancer, where /api shall go there; empty for the functions"
  type        = string
  default     = ""
  nullable    = false
  validation {
    condition     = can(regex("^(([a-z0-9.-]+\\.[a-z]+)?)$", var.service_domain_name))
    error_message = "service_domain_name is a name, such as service.example.com"
  }
}

variable "certificate_arn" {
  description = "Its certificate: for CloudFront one of us-east-1, for API Gateway one of this region"
  type        = string
  default     = ""
  nullable    = false
  validation {
    condition     = can(regex("^((arn:[a-z0-9-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+)?)$", var.certificate_arn))
    error_message = "certificate_arn is the ARN of a certificate in ACM"
  }
}

variable "hosted_zone_id" {
  description = "Route 53's zone that the name is written to; empty where somebody else does"
  type        = string
  default     = ""
  nullable    = false
}

variable "web_acl_arn" {
  description = "CloudFront or API Gateway: a web ACL that exists, a global one or one of this region; empty for none"
  type        = string
  default     = ""
  nullable    = false
  validation {
    condition     = can(regex("^((arn:[a-z0-9-]+:wafv2:[a-z0-9-]+:[0-9]{12}:(global|regional)/webacl/.+)?)$", var.web_acl_arn))
    error_message = "web_acl_arn is the ARN of a web ACL"
  }
}

variable "access_log_bucket" {
  description = "CloudFront: the bucket for its access logs, with ACLs enabled; empty for none"
  type        = string
  default     = ""
  nullable    = false
}

variable "api_access_logs" {
  description = "API Gateway: true for access logs, which need the account's role for CloudWatch"
  type        = bool
  default     = false
  nullable    = false
}

variable "producer_accounts" {
  description = "Other accounts whose roles may send updates to the queue, comma separated; they allow it to them by a policy, too"
  type        = list(string)
  default     = []
  nullable    = false
}

variable "kms_key_arn" {
  description = "The key for queues, logs, the functions' variables, and new data; empty for AWS's own"
  type        = string
  default     = ""
  nullable    = false
  validation {
    condition     = can(regex("^((arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+)?)$", var.kms_key_arn))
    error_message = "kms_key_arn is the ARN of a key, not of an alias"
  }
}

variable "permissions_boundary_arn" {
  description = "The permissions boundary of every role; empty for none"
  type        = string
  default     = ""
  nullable    = false
  validation {
    condition     = can(regex("^((arn:[a-z0-9-]+:iam::([0-9]{12}|aws):policy/.+)?)$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn is the ARN of a managed policy"
  }
}

variable "event_bus" {
  description = "The event bus that is told of ended runs: the name or ARN of one of this region; empty for none"
  type        = string
  default     = ""
  nullable    = false
  validation {
    condition     = can(regex("^(([/.\\-_A-Za-z0-9]+|arn:[a-z0-9-]+:events:[a-z0-9-]+:[0-9]{12}:event-bus/[/.\\-_A-Za-z0-9]+)?)$", var.event_bus))
    error_message = "event_bus is the name or ARN of an event bus"
  }
}

variable "webhook_url" {
  description = "The webhook that is told of them, by POST; empty for none"
  type        = string
  default     = ""
  sensitive   = true
  nullable    = false
  validation {
    condition     = can(regex("^((https://.+)?)$", var.webhook_url))
    error_message = "webhook_url is an https:// address"
  }
}

variable "webhook_secret" {
  description = "What it is signed with: whsec_ and the base64 of at least 24 random bytes"
  type        = string
  default     = ""
  sensitive   = true
  nullable    = false
  validation {
    condition     = can(regex("^((whsec_[A-Za-z0-9+/]{32,}={0,2})?)$", var.webhook_secret))
    error_message = "webhook_secret is whsec_ and the base64 of at least 24 random bytes"
  }
}

variable "notify_changes" {
  description = "ended: they are told of each attempt at a run that has ended. all: of every event of runs and tests"
  type        = string
  default     = "ended"
  nullable    = false
  validation {
    condition     = contains(["ended", "all"], var.notify_changes)
    error_message = "notify_changes is one of ended, all"
  }
}

variable "retention_days" {
  description = "After how many days events are pruned: more than the 14 that an update may wait in the dead-letter queue, or its eventId would count again"
  type        = number
  default     = 30
  nullable    = false
  validation {
    condition     = var.retention_days >= 15 && var.retention_days <= 3650
    error_message = "retention_days is at least 15 and at most 3650"
  }
}

variable "log_retention_days" {
  description = "After how many days the functions' logs go"
  type        = number
  default     = 30
  nullable    = false
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 180, 365], var.log_retention_days)
    error_message = "log_retention_days is one of 1, 3, 5, 7, 14, 30, 60, 90, 180, 365"
  }
}

variable "log_level" {
  description = "What is logged, in the words of RUST_LOG"
  type        = string
  default     = "info"
  nullable    = false
}

variable "tracing" {
  description = "Active for AWS X-Ray"
  type        = string
  default     = "PassThrough"
  nullable    = false
  validation {
    condition     = contains(["PassThrough", "Active"], var.tracing)
    error_message = "tracing is one of PassThrough, Active"
  }
}

variable "otlp_endpoint" {
  description = "Where traces are sent by OTLP over HTTP, /v1/traces is added; empty: they are off"
  type        = string
  default     = ""
  nullable    = false
  validation {
    condition     = can(regex("^((https?://.+)?)$", var.otlp_endpoint))
    error_message = "otlp_endpoint is an http:// or https:// address"
  }
}

variable "alarm_topic_arn" {
  description = "The SNS topic that alarms go to"
  type        = string
  default     = ""
  nullable    = false
}
