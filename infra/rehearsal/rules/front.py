"""What stands before the functions: API Gateway, CloudFront."""

import json
import re

from templates import of_type, properties

from .functions import STREAMS

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"


def api(application, _):
    gateway = properties(application, "Api")
    (stage,) = of_type(application, "AWS::ApiGateway::Stage").values()
    form = stage["Properties"]["AccessLogSetting"]["Fn::If"][1]["Format"]
    if not all(re.fullmatch(r"[a-zA-Z]+(\.[a-zA-Z]+)?", word) and "uery" not in word for word in re.findall(r"\$context\.([\w.]+)", form)):
        yield "access logs keep the viewers' tokens"
    if gateway["EndpointConfiguration"]["Types"] != ["REGIONAL"]:
        yield "an API at the edge closes connections that are silent for 30 s"
    for name, deployment in of_type(application, "AWS::ApiGateway::Deployment").items():
        if not re.fullmatch(r"ApiDeployment[0-9a-f]{10}", name):
            yield f"{name} is a snapshot whose name stays: what changes in the API never goes live"
        if "StageName" in deployment["Properties"]:
            yield "the API has a second stage, without limits"
    paths = gateway["Body"]["paths"]
    served = {f"/api/{path}/{{proxy+}}": name for name, path in STREAMS.items()}
    served |= {path: "JobStatus" for path in ("/api/runs", "/api/runs/{proxy+}")}
    served |= {path: "Ingest" for path in ("/api/updates", "/api/updates/{proxy+}")}
    if set(paths) != set(served):
        yield f"the API's paths are {sorted(paths)}"
    if "application/json" not in gateway["Body"].get("x-amazon-apigateway-binary-media-types", []):
        yield "updates that are packed by gzip come as broken text"
    for path, name in served.items():
        call = paths[path]["x-amazon-apigateway-any-method"]["x-amazon-apigateway-integration"]
        uri = json.dumps(call["uri"])
        if call.get("responseTransferMode") != "STREAM":
            yield f"{path} is collected before it is sent"
        if "/2021-11-15/" not in uri or "/response-streaming-invocations" not in uri or f"${{{name}.Arn}}" not in uri:
            yield f"{path} does not call InvokeWithResponseStream of {name}"
        if call["httpMethod"] != "POST" or call["type"] != "aws_proxy":
            yield f"{path} does not call Lambda"
        if call["timeoutInMillis"] != 900000:
            yield f"{path} ends early"


def cloudfront(application, _):
    config = properties(application, "Distribution")["DistributionConfig"]
    if "EdgeNamed" not in json.dumps(config.get("Aliases")) or "EdgeNamed" not in json.dumps(config.get("ViewerCertificate")):
        yield "the cookie of an app does not come along: CloudFront has no name of the app's"
    if config["Logging"]["Fn::If"][1].get("IncludeCookies") is not False:
        yield "access logs keep the viewers' tokens"
    if config["HttpVersion"] != "http2and3":
        yield "six streams fill a browser's HTTP/1.1 connections"
    kept = {answer["ErrorCode"]: answer.get("ErrorCachingMinTTL") for answer in config.get("CustomErrorResponses", [])}
    for code in (405, 500, 502, 503, 504):
        if kept.get(code) != 0:
            yield f"one viewer's {code} is everybody's for 10 s"
    origins = {origin["Id"]: origin for origin in config["Origins"]}
    if set(origins) != {"dashboard", "updates", *STREAMS.values()}:
        yield f"the origins are {sorted(origins)}"
    for name in ("updates", *STREAMS.values()):
        if origins[name]["DomainName"].get("Fn::If", [])[:2] != ["Served", {"Ref": "ServiceDomainName"}]:
            yield f"{name} does not move to the service with the others"
    heartbeat = application["Parameters"]["StreamHeartbeatSeconds"]["MaxValue"]
    for name, path in STREAMS.items():
        origin = origins[path]
        if f"{name}Url" not in json.dumps(origin["DomainName"]):
            yield f"{path} goes to another function"
        # The service answers to whoever has a token, as ingest does.
        signed = {"Fn::If": ["Served", {"Ref": "AWS::NoValue"}, {"Fn::GetAtt": ["FunctionAccess", "Id"]}]}
        if origin.get("OriginAccessControlId") != signed:
            yield f"{path} answers 403: CloudFront does not sign"
        timeout = origin["CustomOriginConfig"]["OriginReadTimeout"]
        if not 2 * heartbeat <= timeout <= 120:
            yield f"{path} is cut between two pings, or CloudFront refuses the timeout"
        if origin["CustomOriginConfig"]["OriginProtocolPolicy"] != "https-only":
            yield f"{path} is asked without TLS"
    behaviours = {behaviour["PathPattern"]: behaviour for behaviour in config["CacheBehaviors"]}
    for path in STREAMS.values():
        behaviour = behaviours[f"/api/{path}/*"]
        if behaviour["TargetOriginId"] != path:
            yield f"{path} goes to {behaviour['TargetOriginId']}"
        if behaviour.get("Compress") is not False:
            yield f"{path} is compressed, which holds frames back"
        if behaviour.get("CachePolicyId") != CACHING_DISABLED:
            yield f"{path} is cached"
        if behaviour.get("OriginRequestPolicyId") != ALL_VIEWER_EXCEPT_HOST:
            yield f"{path} gets no query, or a host that no URL answers to"
        if "POST" not in behaviour["AllowedMethods"]:
            yield f"{path} cannot be closed"
        if behaviour["ViewerProtocolPolicy"] != "https-only":
            yield f"{path} takes tokens in the clear"
        if "ViewerRequests" not in json.dumps(behaviour.get("FunctionAssociations")):
            yield f"{path} answers 403 to a beacon, which cannot sign its body"
    runs = behaviours["/api/runs*"]
    if runs["TargetOriginId"] != "job-status" or runs["ViewerProtocolPolicy"] != "https-only":
        yield "past runs go to another function, or take tokens in the clear"
    if runs.get("CachePolicyId") != CACHING_DISABLED or runs.get("OriginRequestPolicyId") != ALL_VIEWER_EXCEPT_HOST:
        yield "past runs are cached, whoever asks, or get no query"
    updates, behaviour = origins["updates"], behaviours["/api/updates*"]
    if "IngestUrl" not in json.dumps(updates["DomainName"]) or behaviour["TargetOriginId"] != "updates":
        yield "updates go to another function"
    if "OriginAccessControlId" in updates:
        yield "updates answer 403 to whoever does not hash its body"
    if updates["CustomOriginConfig"]["OriginProtocolPolicy"] != "https-only" or behaviour["ViewerProtocolPolicy"] != "https-only":
        yield "updates take tokens in the clear"
    if behaviour.get("CachePolicyId") != CACHING_DISABLED or behaviour.get("OriginRequestPolicyId") != ALL_VIEWER_EXCEPT_HOST:
        yield "updates lose their token, or have a host that no URL answers to"
    if "POST" not in behaviour["AllowedMethods"]:
        yield "updates cannot be sent"
    if "FunctionAssociations" in behaviour:
        yield "updates get the hash of an empty body, which is not theirs"
    for name in ("FunctionAccess", "FilesAccess"):
        access = properties(application, name)["OriginAccessControlConfig"]
        if (access["SigningBehavior"], access["SigningProtocol"]) != ("always", "sigv4"):
            yield f"{name} does not always sign"
    bucket = properties(application, "DashboardFiles")["PublicAccessBlockConfiguration"]
    if len(bucket) != 4 or not all(bucket.values()):
        yield "the dashboard's bucket can be made public"
    if "us-east-1" not in json.dumps(application["Conditions"]["Waf"]):
        yield "a web ACL for CloudFront cannot be made outside of us-east-1"
    if properties(application, "RateLimit")["Scope"] != "CLOUDFRONT":
        yield "the web ACL is not one for CloudFront"
