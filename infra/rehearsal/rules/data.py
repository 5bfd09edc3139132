"""The data: its network, cache and database."""

import itertools
import json
import re

from templates import CHECKOUT, of_type, properties

# https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Clusters.RBAC.html#Access-string
ACCESS_WORD = r"on|resetchannels|-@all|\+[a-z]+(\|[a-z]+)?|&[a-z-]+:\*|(%R|%W|%RW)?~[\w${}-]+:\*"


def network(_, data):
    resources = data["Resources"]
    for forbidden in ("AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::Route", "AWS::EC2::EIP"):
        if of_type(data, forbidden):
            yield f"there is a way to the internet: {forbidden}"
    subnets = of_type(data, "AWS::EC2::Subnet")
    zones = []
    for subnet in subnets.values():
        condition, named, first = subnet["Properties"]["AvailabilityZone"]["Fn::If"]
        zones.append(first["Fn::Select"][0])
        if (condition, named) != ("ZonesNamed", {"Fn::Select": [zones[-1], {"Ref": "AvailabilityZones"}]}):
            yield "a zone that lacks Lambda, or the cache, cannot be avoided"
    ranges = {json.dumps(subnet["Properties"]["CidrBlock"]) for subnet in subnets.values()}
    # Some regions have two, and an interface endpoint is paid for in each.
    if sorted(zones) != [0, 1] or len(ranges) != 2:
        yield "the subnets are not two, in the first two zones, with addresses of their own"
    for subnet in subnets.values():
        if subnet["Properties"].get("MapPublicIpOnLaunch"):
            yield "a subnet gives public addresses"
        _, count, bits = subnet["Properties"]["CidrBlock"]["Fn::Select"][1]["Fn::Cidr"]
        prefix = int(data["Parameters"]["VpcCidr"]["Default"].split("/")[1])
        if int(count) < 2 or 2 ** (32 - prefix) < int(count) * 2 ** int(bits) or int(bits) < 8:
            yield "a subnet has too few addresses for the functions' interfaces"
    endpoint = resources["S3Endpoint"]["Properties"]
    if endpoint["VpcEndpointType"] != "Gateway" or endpoint["RouteTableIds"] != [{"Ref": "Routes"}]:
        yield "migrate cannot answer CloudFormation: no way to S3"
    if "cloudformation-custom-resource-response-" not in json.dumps(endpoint["PolicyDocument"]):
        yield "migrate cannot answer CloudFormation, or can write to all of S3"
    routed = {link["Properties"]["SubnetId"]["Ref"] for link in of_type(data, "AWS::EC2::SubnetRouteTableAssociation").values()}
    if routed != set(subnets):
        yield "a subnet does not know the way to S3"
    if not of_type(data, "AWS::EC2::FlowLog"):
        yield "there are no flow logs"
    ports = {"CacheGroup": (6379, 6380), "DatabaseGroup": (5432, 5432), "ProxyGroup": (5432, 5432), "EndpointGroup": (443, 443)}
    for name, group in of_type(data, "AWS::EC2::SecurityGroup").items():
        for rule in group["Properties"].get("SecurityGroupIngress", []):
            if "CidrIp" in rule or rule.get("SourceSecurityGroupId") != {"Ref": "FunctionGroup"}:
                yield f"{name} lets in others than the functions"
            if (rule["FromPort"], rule["ToPort"]) != ports[name]:
                yield f"{name} opens the ports {rule['FromPort']} to {rule['ToPort']}"
    if "SecurityGroupIngress" in resources["FunctionGroup"]["Properties"]:
        yield "something can connect to the functions"
    out = {(rule["FromPort"], rule["ToPort"]) for rule in resources["FunctionGroup"]["Properties"]["SecurityGroupEgress"]}
    if out != {(5432, 5432), (6379, 6380), (443, 443)}:
        yield f"the functions can connect to the ports {sorted(out)}"


def cache(_, data):
    for name in ("ServerlessCache", "CacheNodes", "StreamsUser", "WorkerUser", "IngestUser", "ServerUser", "Users"):
        if properties(data, name)["Engine"] != "valkey":
            yield f"{name} is not Valkey"
    nodes = properties(data, "CacheNodes")
    for name in ("TransitEncryptionEnabled", "AtRestEncryptionEnabled", "AutomaticFailoverEnabled", "MultiAZEnabled"):
        if nodes.get(name) is not True:
            yield f"the nodes lack {name}"
    if nodes["NumCacheClusters"] < 2:
        yield "nothing can fail over to one node"
    if "Maximum" not in properties(data, "ServerlessCache").get("CacheUsageLimits", {}).get("ECPUPerSecond", {}):
        yield "the cache's bill has no upper end"
    if properties(data, "Users")["UserIds"] != [{"Ref": user} for user in ("StreamsUser", "WorkerUser", "IngestUser", "ServerUser")]:
        yield "the cache lets in others, or not all"
    versions = [float(properties(data, "ServerlessCache")["MajorEngineVersion"]), float(nodes["EngineVersion"])]
    users = {
        "StreamsUser": ("STREAM_RULES", "LIMIT_RULES"),
        "WorkerUser": ("WORKER_RULES",),
        "IngestUser": ("WORKER_RULES", "LIMIT_RULES"),
        "ServerUser": ("STREAM_RULES", "WORKER_RULES", "LIMIT_RULES"),
    }
    for name, tables in users.items():
        user = properties(data, name)
        if user["UserId"] != user["UserName"]:
            yield f"{name} cannot log in by IAM: its id and name differ"
        if user["AuthenticationMode"] != {"Type": "iam"}:
            yield f"{name} does not log in by IAM"
        access = user["AccessString"]
        access = access["Fn::Sub"] if isinstance(access, dict) else access
        if access.split()[:2] != ["on", "resetchannels"]:
            yield f"{name} is off, or listens to every channel"
        for word in access.replace("(", " ").replace(")", " ").split():
            if not re.fullmatch(ACCESS_WORD, word):
                yield f"{name}: ElastiCache does not document {word}"
        if not {"(", "%"}.isdisjoint(access) and min(versions) < 7:
            yield f"{name}: ElastiCache takes selectors and %R~ from version 7 on"
        if "+@all" in access or re.search(r"~\*|&\*|allkeys|allchannels", access):
            yield f"{name} may do everything"
        outside, _, selector = access.partition("(")
        if name == "StreamsUser" and "+publish" in outside:
            yield "a streaming function could forge events"
        if name == "WorkerUser" and "~" in access:
            yield "the worker may read or write keys"
        if name == "IngestUser" and re.findall(r"~\S+", access) != ["~limit:*"]:
            yield "ingest may read or write others' keys"
        for rule in itertools.chain.from_iterable(map(local_rules, tables)):
            wanted = rule.strip("()").split()
            # Who may publish everywhere needs no selector.
            within = selector if rule.startswith("(") and selector else outside
            if not all(word in within.rstrip(")").split() for word in wanted):
                yield f"{name} may not do what it may in the local stack: {rule}"


def local_rules(table):
    """What the local stack allows a user, from its source."""
    source = (CHECKOUT / "local/src/servers.rs").read_text()
    body = re.search(rf"const {table}: [^=]*= \[(.*?)\];", source, re.S).group(1)
    return re.findall(r'"([^"]+)"', body)


def database(_, data):
    cluster, instance = data["Resources"]["Database"], properties(data, "DatabaseInstance")
    if cluster.get("DeletionPolicy") != "Snapshot" or cluster.get("UpdateReplacePolicy") != "Snapshot":
        yield "the database goes without a snapshot"
    cluster = cluster["Properties"]
    if cluster["Engine"] != "aurora-postgresql" or instance["Engine"] != "aurora-postgresql":
        yield "the database is not Aurora PostgreSQL"
    if instance["DBInstanceClass"] != "db.serverless" or "ServerlessV2ScalingConfiguration" not in cluster:
        yield "the database is not serverless"
    scaling = cluster["ServerlessV2ScalingConfiguration"]
    # With a proxy, which keeps connections, Aurora cannot pause.
    if scaling["MinCapacity"] != {"Fn::If": ["Proxy", 0.5, 0]} or scaling["MaxCapacity"] != {"Ref": "DatabaseMaxCapacity"}:
        yield "the database's capacity is not from 0 to what the parameter says"
    if data["Parameters"]["DatabaseMaxCapacity"]["MinValue"] < 1:
        yield "Aurora takes a maximum of 1 unit at least"
    if cluster.get("DeletionProtection") != {"Ref": "DatabaseProtected"}:
        yield "nobody can protect the database, or its stack's roll-back cannot delete it"
    for name in ("EnableIAMDatabaseAuthentication", "StorageEncrypted"):
        if cluster.get(name) is not True:
            yield f"the database lacks {name}"
    if cluster["BackupRetentionPeriod"] < 7:
        yield "a mistake that shows after a weekend cannot be undone"
    if "EnableCloudwatchLogsExports" in cluster:
        yield "the database's log is kept for ever: RDS makes its group without an end"
    if instance.get("PubliclyAccessible") is not False:
        yield "the database is public"
    if properties(data, "DatabaseReplica").get("PromotionTier", 2) > 1:
        yield "the replica is smaller than what it takes the place of"
    for name, key in (("Database", "KmsKeyId"), ("ServerlessCache", "KmsKeyId"), ("CacheNodes", "KmsKeyId"), ("OwnerSecret", "KmsKeyId")):
        if "Keyed" not in json.dumps(properties(data, name).get(key)):
            yield f"{name} is not encrypted by the key that was given"
    secret = properties(data, "OwnerSecret")["GenerateSecretString"]
    if secret.get("ExcludePunctuation") is not True:
        yield "a password with punctuation breaks its URL"
    if data["Resources"]["OwnerSecret"].get("DeletionPolicy") != "RetainExceptOnCreate":
        yield "a snapshot is left without its password"
    pool = properties(data, "ProxyTarget").get("ConnectionPoolConfigurationInfo", {})
    if "idle_session_timeout = 0" not in pool.get("InitQuery", ""):
        yield "Postgres closes what the proxy keeps, by the roles' idle_session_timeout"
    proxy = properties(data, "Proxy")
    if proxy.get("IdleClientTimeout", 1800) > 60:
        yield "the proxy keeps the connections of frozen environments"
    if (proxy["EngineFamily"], proxy.get("RequireTLS"), proxy.get("DefaultAuthScheme")) != ("POSTGRESQL", True, "IAM_AUTH"):
        yield "the proxy does not ask for TLS and IAM"
