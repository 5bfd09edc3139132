"""What the template and the Terraform module make, in one form, by the template's names."""

import json
import re

from pairs import plain
from provider import KNOWN

# The template's resource for each of the module's; `{}` is the key of `for_each`, in the template's spelling.
SAME = {
    "aws_lambda_layer_version.roots": "Roots", "aws_cloudwatch_log_group.this": "{}Logs", "aws_lambda_function.migrate": "Migrate",
    "aws_lambda_function.this": "{}", "aws_lambda_invocation.schema": "Schema",
    "aws_lambda_function_event_invoke_config.notify": "NotifyEventInvokeConfig", "aws_lambda_function_url.this": "{}Url",
    "aws_lambda_permission.url": "{}UrlPermission", "aws_lambda_permission.url_invoke": "{}UrlInvokePermission",
    "aws_lambda_permission.schedule": "{}Permission", "aws_iam_role.this": "{}Role", "aws_iam_policy.producer": "ProducerPolicy",
    "aws_sqs_queue.updates": "Updates", "aws_sqs_queue.dead_updates": "DeadUpdates", "aws_sqs_queue_policy.updates": "UpdatesOverTls",
    "aws_sqs_queue_policy.dead_updates": "DeadUpdatesOverTls", "aws_lambda_event_source_mapping.updates": "WorkerUpdates",
    "aws_lambda_event_source_mapping.dead_updates": "WorkerDeadUpdates", "aws_cloudwatch_event_rule.this": "{}",
    "aws_s3_bucket.dashboard": "DashboardFiles", "aws_s3_bucket_policy.dashboard": "DashboardFilesPolicy",
    "aws_cloudfront_origin_access_control.functions": "FunctionAccess", "aws_cloudfront_origin_access_control.files": "FilesAccess",
    "aws_cloudfront_function.viewer_requests": "ViewerRequests", "aws_cloudfront_response_headers_policy.dashboard": "DashboardHeaders",
    "aws_api_gateway_rest_api.api": "Api", "aws_api_gateway_deployment.api": "ApiDeployment", "aws_api_gateway_stage.live": "ApiliveStage",
    "aws_lambda_permission.api": "{}ApiPermission", "aws_cloudwatch_log_group.api": "ApiLogs", "aws_api_gateway_domain_name.api": "ApiDomain",
    "aws_api_gateway_base_path_mapping.api": "ApiMapping", "aws_wafv2_web_acl_association.api": "ApiAcl",
    "aws_cloudfront_distribution.edge": "Distribution", "aws_cloudwatch_metric_alarm.this": "{}", "aws_cloudwatch_dashboard.overview": "Overview",
}  # fmt: skip
# A resource of its own in the provider, a property in AWS: what it belongs to, and what it is called there.
PARTS = {
    "aws_iam_role_policy": ("role", "Statements"), "aws_iam_role_policy_attachment": ("role", "ManagedPolicyArns"),
    "aws_cloudwatch_event_target": ("rule", "Targets"), "aws_s3_bucket_public_access_block": ("bucket", "PublicAccessBlockConfiguration"),
    "aws_s3_bucket_server_side_encryption_configuration": ("bucket", "BucketEncryption"),
    "aws_s3_bucket_ownership_controls": ("bucket", "OwnershipControls"), "aws_route53_record": ({"edge": "EdgeRecord", "api": "ApiRecord"}, "RecordSets"),
    "aws_api_gateway_method_settings": ({"live": "ApiliveStage"}, "MethodSettings"),
}  # fmt: skip
# What others are told of a resource, in both languages.
TOLD = {
    "aws_lambda_function": {"arn": "Arn", "function_name": "Ref"}, "aws_lambda_layer_version": {"arn": "Ref"},
    "aws_sqs_queue": {"arn": "Arn", "url": "Ref", "name": "QueueName"}, "aws_iam_role": {"arn": "Arn", "name": "Ref"},
    "aws_iam_policy": {"arn": "Ref"}, "aws_cloudwatch_log_group": {"name": "Ref", "arn": "Arn"},
    "aws_api_gateway_rest_api": {"id": "Ref"}, "aws_api_gateway_deployment": {"id": "Ref"},
    "aws_api_gateway_domain_name": {"regional_domain_name": "RegionalDomainName", "regional_zone_id": "RegionalHostedZoneId"},
    "aws_lambda_function_url": {"function_url": "FunctionUrl"},
    "aws_cloudwatch_event_rule": {"arn": "Arn", "name": "Ref"}, "aws_cloudfront_origin_access_control": {"id": "Id"},
    "aws_s3_bucket": {"id": "Ref", "arn": "Arn", "bucket_regional_domain_name": "RegionalDomainName"},
    "aws_cloudfront_function": {"arn": "FunctionARN"}, "aws_cloudfront_response_headers_policy": {"id": "Ref"},
    "aws_cloudfront_distribution": {"domain_name": "DomainName"}, "aws_lambda_event_source_mapping": {"id": "Ref"},
}  # fmt: skip
# What the template writes out.
WRITTEN = {
    "aws_lambda_function": {
        "response_streaming_invoke_arn": "arn:aws:apigateway:{region}:lambda:path/2021-11-15/functions/{arn}/response-streaming-invocations",
    },
    "aws_api_gateway_rest_api": {"execution_arn": "arn:aws:execute-api:{region}:{account}:Ref {name}"},
    "aws_api_gateway_stage": {"arn": "arn:aws:apigateway:{region}::/restapis/Ref Api/stages/live"},
    "aws_cloudfront_distribution": {"arn": "arn:aws:cloudfront::{account}:distribution/Ref {name}", "hosted_zone_id": "Z2FDTNDATAQYW2"},
}  # fmt: skip
# What is called otherwise; without a name, what the other side has no word for.
OTHERWISE = {
    "aws_lambda_function": {"filename": None, "source_code_hash": None, "Code": None, "FunctionName": None, "function_name": None},
    "aws_lambda_layer_version": {"filename": None, "source_code_hash": None, "Content": None},
    "aws_lambda_function_url": {"authorization_type": "AuthType", "TargetFunctionArn": "function_name"},
    "aws_lambda_function_event_invoke_config": {"Qualifier": None},
    "aws_cloudwatch_log_group": {"name": None},
    "aws_sqs_queue": {"name": None, "visibility_timeout_seconds": "VisibilityTimeout", "message_retention_seconds": "MessageRetentionPeriod"},
    "aws_sqs_queue_policy": {"queue_url": "Queues", "policy": "PolicyDocument"},
    "aws_iam_role": {"name": None, "name_prefix": None, "assume_role_policy": "AssumeRolePolicyDocument"},
    "aws_iam_policy": {"name": None, "name_prefix": None, "policy": "PolicyDocument"},
    "aws_cloudwatch_event_rule": {"name": None, "Id": None},
    "aws_cloudwatch_event_target": {"rule": None},
    "aws_s3_bucket": {"bucket": None, "bucket_prefix": None},
    "aws_s3_bucket_policy": {"policy": "PolicyDocument"},
    "aws_s3_bucket_public_access_block": {"bucket": None},
    "aws_s3_bucket_server_side_encryption_configuration": {
        "bucket": None, "rule": "ServerSideEncryptionConfiguration", "apply_server_side_encryption_by_default": "ServerSideEncryptionByDefault",
    },
    "aws_s3_bucket_ownership_controls": {"bucket": None, "rule": "Rules"},
    "aws_cloudfront_function": {"publish": "AutoPublish", "code": "FunctionCode"},
    "aws_cloudfront_distribution": {
        "origin": "Origins", "origin_id": "Id", "custom_error_response": "CustomErrorResponses", "ordered_cache_behavior": "CacheBehaviors",
        "function_association": "FunctionAssociations", "is_ipv6_enabled": "IPV6Enabled", "logging_config": "Logging",
    },
    "aws_api_gateway_rest_api": {"Parameters": None},
    "aws_api_gateway_deployment": {"Description": None, "triggers": None},
    "aws_api_gateway_stage": {"xray_tracing_enabled": "TracingEnabled", "access_log_settings": "AccessLogSetting"},
    "aws_api_gateway_method_settings": {"rest_api_id": None, "stage_name": None},
    "aws_api_gateway_base_path_mapping": {"api_id": "RestApiId", "stage_name": "Stage"},
    "aws_route53_record": {"zone_id": "HostedZoneId", "alias": "AliasTarget"},
    "aws_cloudwatch_metric_alarm": {"metric_query": "Metrics"},
}  # fmt: skip
# What the provider wants said, and CloudFormation takes for granted.
GRANTED = {
    "aws_lambda_function": {"reserved_concurrent_executions": -1, "log_format": "Text"},
    "aws_cloudfront_distribution": {
        "restrictions": {"georestriction": {"restrictiontype": "none"}}, "cloudfront_default_certificate": True, "http_port": 80, "https_port": 443,
        "cached_methods": ["GET", "HEAD"], "allowed_methods": ["GET", "HEAD"],
    },
    "aws_route53_record": {"evaluate_target_health": False},
    "aws_cloudwatch_event_target": {"maximum_event_age_in_seconds": 86400},
}  # fmt: skip
# The template's types whose properties are called otherwise.
PROVIDERS = {
    "AWS::Lambda::Function": "aws_lambda_function", "AWS::Lambda::LayerVersion": "aws_lambda_layer_version",
    "AWS::Lambda::Url": "aws_lambda_function_url", "AWS::Lambda::EventInvokeConfig": "aws_lambda_function_event_invoke_config",
    "AWS::Events::Rule": "aws_cloudwatch_event_rule", "AWS::ApiGateway::RestApi": "aws_api_gateway_rest_api",
    "AWS::ApiGateway::Deployment": "aws_api_gateway_deployment",
}  # fmt: skip
# The template's only.
TEMPLATES_ONLY = {
    "AWS::Lambda::Version": "new code is what makes CloudFormation migrate; here it is a trigger",
    "AWS::Lambda::Alias": "SAM's, with the version",
}
# A layer of CloudFormation's that says nothing.
WRAPPERS = ("DistributionConfig", "OriginAccessControlConfig", "FunctionConfig", "ResponseHeadersPolicyConfig")


def pascal(key):
    return "".join(part[:1].upper() + part[1:] for part in key.split("-"))


def normal(node, names=None, granted=None):
    """Both languages' values in one form: keys in small letters, text for what it says, one for a list of one."""
    names, granted = names or {}, granted or {}
    if isinstance(node, dict):
        made = {}
        for key, value in node.items():
            if key in names and names[key] is None:
                continue
            value = normal(value, names, granted)
            if "_" in key and key.isupper():
                # A variable, also where it is empty.
                made[key] = value
            elif value not in (None, "", [], {}) and not (key in granted and value == granted[key]):
                made[names.get(key, key).replace("_", "").lower()] = value
        return made
    if isinstance(node, list):
        values = sorted((normal(value, names, granted) for value in node), key=lambda value: json.dumps(value, sort_keys=True))
        return values[0] if len(values) == 1 else values
    if isinstance(node, str) and node[:1] in ("{", "["):
        try:
            return normal(json.loads(node))
        except ValueError:
            return node
    return plain(node)


def from_template(stack):
    """What the template makes, by name, in the common form."""
    made = {}
    for name, resource in stack.resources().items():
        kind, properties = resource["Type"], resource["Properties"]
        if kind in TEMPLATES_ONLY:
            continue
        properties.pop("Tags", None)
        for wrapper in WRAPPERS:
            properties |= properties.pop(wrapper, {})
        match kind:
            case "AWS::IAM::Role":
                policies = properties.pop("Policies", [])
                properties["Statements"] = [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]
                properties["ManagedPolicyArns"] = as_asked(properties["ManagedPolicyArns"], stack)
            case "AWS::CloudWatch::Alarm":
                properties = alarm(properties)
            case "AWS::CloudFront::Distribution":
                properties["CacheBehaviors"] = in_order(properties["CacheBehaviors"])
            case "AWS::ApiGateway::RestApi":
                properties["BinaryMediaTypes"] = [kind.replace("~1", "/") for kind in properties["BinaryMediaTypes"]]
            case "AWS::ApiGateway::Stage":
                for settings in properties["MethodSettings"]:
                    method, path = settings.pop("HttpMethod"), settings.pop("ResourcePath")
                    settings |= {"method_path": f"{path.lstrip('/')}/{method}"}
            case "AWS::Route53::RecordSet":
                properties = {"RecordSets": [properties]}
            case "AWS::Route53::RecordSetGroup":
                zone = properties.pop("HostedZoneId")
                properties["RecordSets"] = [{**record, "HostedZoneId": zone} for record in properties["RecordSets"]]
            case "Custom::Schema":
                properties = {"Function": properties["ServiceToken"], "Database": properties["Database"], "Input": {"action": "migrate"}}
        made[name] = normal(properties, OTHERWISE.get(PROVIDERS.get(kind), {}))
    # Their names are these.
    text = json.dumps(made).replace("Ref ApiliveStage", "live").replace("Ref ApiDomain", stack.values["DomainName"])
    return json.loads(text)


def as_asked(policies, stack):
    """SAM attaches X-Ray's policy also where nothing is traced, and Basic beside what it is a part of."""
    kept = [arn for arn in policies if not arn.endswith("/AWSXrayWriteOnlyAccess")]
    if any(arn.endswith("/AWSLambdaVPCAccessExecutionRole") for arn in kept):
        kept = [arn for arn in kept if not arn.endswith("/AWSLambdaBasicExecutionRole")]
    traced = [f"arn:{stack.values['AWS::Partition']}:iam::aws:policy/AWSXRayDaemonWriteAccess"] if stack.conditions["XRay"] else []
    return sorted({*kept, *traced})


def alarm(properties):
    dimensions = lambda given: {each["Name"]: each["Value"] for each in given}  # noqa: E731
    properties["Dimensions"] = dimensions(properties.get("Dimensions", []))
    for query in properties.get("Metrics", []):
        if stat := query.pop("MetricStat", None):
            metric = stat.pop("Metric")
            query["metric"] = {**stat, **metric, "Dimensions": dimensions(metric["Dimensions"])}
    return properties


def in_order(values):
    """A list whose order counts."""
    return {str(number): value for number, value in enumerate(values)}


def arn_of(reference, stack):
    name = reference.removeprefix("Ref ")
    return stack.of(name, f"{name}.Arn")


def from_module(state, stack):
    """What the module makes, by the template's names, in the common form; and its outputs."""
    resources = [each for each in state["root_module"]["resources"] if each["mode"] == "managed" and each["provider_name"].endswith("/aws")]
    address = {each["address"]: f"{each['type']}.{each['name']}" for each in resources}
    keys = {each["address"]: pascal(str(each.get("index", ""))) for each in resources}
    names = {which: SAME[what].format(keys[which]) for which, what in address.items() if what in SAME}
    words = {}
    region, account = stack.values["AWS::Region"], stack.values["AWS::AccountId"]
    for each in resources:
        name, values = names.get(each["address"]), each["values"]
        for attribute, told in TOLD.get(each["type"], {}).items():
            word = f"Ref {name}" if told == "Ref" else f"{name}.{told}"
            words[re.sub(r"^https://|/$", "", values[attribute])] = word if told == "FunctionUrl" else stack.of(name, word)
        for attribute, text in WRITTEN.get(each["type"], {}).items():
            words[values[attribute]] = text.format(region=region, account=account, name=name, arn=stack.of(name, f"{name}.Arn"))
        if each["type"] == "aws_lambda_function":
            words[f"arn:aws:lambda:{region}:{account}:function:{values['function_name']}"] = stack.of(name, f"{name}.Arn")
    known = re.compile("|".join(map(re.escape, sorted(words, key=len, reverse=True))))
    worded = lambda node: json.loads(known.sub(lambda found: words[found[0]], json.dumps(node)))  # noqa: E731
    made, parts = {}, {}
    for each in resources:
        kind = each["type"]
        attributes = KNOWN["resource"][kind]["attributes"]
        computed = {"id", *(name for name, said in attributes.items() if said["computed"] and not said["optional"])}
        values = worded({name: value for name, value in each["values"].items() if name not in computed})
        match kind:
            case "aws_lambda_function_url":
                values["function_name"] = arn_of(values["function_name"], stack)
            case "aws_lambda_invocation":
                function, database = arn_of(values["function_name"], stack), values["triggers"]["database"]
                values = {"Function": function, "Database": database, "Input": values["input"]}
            case "aws_cloudfront_distribution":
                values["ordered_cache_behavior"] = in_order(values["ordered_cache_behavior"])
            case "aws_route53_record":
                (target,) = values["alias"]
                values["alias"] = {"DNSName": target.pop("name"), "HostedZoneId": target.pop("zone_id"), **target}
            case "aws_api_gateway_method_settings":
                (settings,) = values.pop("settings")
                values |= settings
        if kind in PARTS:
            link, called = PARTS[kind]
            owner = link[each["name"]] if isinstance(link, dict) else values[link].removeprefix("Ref ")
            match kind:
                case "aws_iam_role_policy":
                    part = json.loads(values["policy"])["Statement"]
                case "aws_iam_role_policy_attachment":
                    part = [values["policy_arn"]]
                case _:
                    part = [normal(values, OTHERWISE.get(kind), GRANTED.get(kind))]
            parts.setdefault(owner, {}).setdefault(called, []).extend(part)
        else:
            made[names.get(each["address"], each["address"])] = normal(values, OTHERWISE.get(kind), GRANTED.get(kind))
    for owner, found in parts.items():
        made[owner] = made.get(owner, {}) | normal(found)
    outputs = {name: worded(output["value"]) for name, output in state["outputs"].items() if output.get("value") is not None}
    return made, outputs


def differences(one, other, path):
    """Where two values differ: the template's, then the module's."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{path}.{key}")
    elif one != other:
        yield f"{path}: the template has {json.dumps(one)[:300]}, the module {json.dumps(other)[:300]}"
