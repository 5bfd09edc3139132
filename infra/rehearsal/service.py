"""What no linter knows of infra/service.yaml and infra/kubernetes.yaml. Yields what is wrong, in a sentence."""

import json
import re

import yaml
from docs import first_cells, section
from rules.composition import SECRETS
from templates import CHECKOUT, KUBERNETES, of_type, properties, values

# What streams and updates take after the grace: server/src/connections.rs, LAST_WORDS, for each of its two waits.
LAST_WORDS_SECONDS = 6
# The functions have them in template.yaml, and the server has not.
UNSET = {
    "AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH": "Lambda's",
    "DATABASE_IDLE_SECONDS": "nothing freezes here", "STREAM_FLUSH_BYTES": "a load balancer holds no chunk back",
    "FALLBACK_POLL_SECONDS": "the default", "FALLBACK_POLL_DEGRADED_SECONDS": "the default", "SETTLE_SECONDS": "the default",
    "QUEUE_REDIS_URL": "a secret, which not everybody has: ECS starts no task that lacks one",
}  # fmt: skip
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
METRICS = {
    "AWS/ApplicationELB": {"ActiveConnectionCount", "HealthyHostCount", "HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"},
    "AWS/ECS": {"MemoryUtilization"},
}
# Whose right it is, and what uses it; more than that nobody gets.
RIGHTS = {
    ("TaskRole", "elasticache:Connect"), ("TaskRole", "rds-db:connect"), ("TaskRole", "s3:GetObject"),
    ("ExecutionRole", "secretsmanager:GetSecretValue"), ("ExecutionRole", "kms:Decrypt"),
}  # fmt: skip


def check(service, data, application, only=None):
    """All that is wrong with the template of the service, the application's as SAM translates it."""
    found = []
    for rule in (times, task, variables, balancer, network, rights, scaling, alarms, parameters, cost):
        name = rule.__name__
        if only not in (None, name):
            continue
        try:
            found += [f"{name}: {message}" for message in rule(service, data, application)]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            found.append(f"{name}: something is missing or of another form: {error!r}")
    return found


def container(service):
    (one,) = properties(service, "Task")["ContainerDefinitions"]
    return one


def environment(service):
    """The variables that have a value here, also those that only some have."""
    found = {}
    for part in values(container(service)["Environment"]):
        if isinstance(part, dict) and set(part) == {"Name", "Value"}:
            found[part["Name"]] = part["Value"]
    return found


def attributes(service, name, key):
    return {each["Key"]: each["Value"] for each in properties(service, name)[key]}


def times(service, *_):
    given = environment(service)
    grace, window, heartbeat = (
        int(given[name]) for name in ("SHUTDOWN_GRACE_SECONDS", "STREAM_WINDOW_SECONDS", "STREAM_HEARTBEAT_SECONDS")
    )
    stop = container(service)["StopTimeout"]
    if not grace + LAST_WORDS_SECONDS < stop <= 120:
        yield "a task is killed before its streams have ended, or Fargate refuses"
    delay = int(attributes(service, "Targets", "TargetGroupAttributes")["deregistration_delay.timeout_seconds"])
    if delay <= max(window, grace):
        yield "the balancer cuts streams that have not ended"
    if int(attributes(service, "Balancer", "LoadBalancerAttributes")["idle_timeout.timeout_seconds"]) < 2 * heartbeat:
        yield "the balancer cuts streams between two pings"


def task(service, *_):
    definition = properties(service, "Task")
    if definition["RuntimePlatform"] != {"CpuArchitecture": "ARM64", "OperatingSystemFamily": "LINUX"}:
        yield "it is not for arm64"
    one = container(service)
    if one["User"] != "65532:65532" or one["ReadonlyRootFilesystem"] is not True:
        yield "the server may do more than it needs"
    if one["LinuxParameters"]["Capabilities"] != {"Drop": ["ALL"]} or one.get("Privileged"):
        yield "the server may do more than it needs"
    (limit,) = (each for each in one["Ulimits"] if each["Name"] == "nofile")
    if limit["SoftLimit"] < 2 * 5000:
        yield "it has too few files for its streams"
    if one["LogConfiguration"]["Options"]["awslogs-group"] != {"Ref": "Logs"} or "RetentionInDays" not in properties(service, "Logs"):
        yield "its logs stay for ever"
    if one["LogConfiguration"]["Options"]["mode"] != "non-blocking":
        yield "streams wait where logs cannot be written"
    deployment = properties(service, "Service")["DeploymentConfiguration"]
    if (deployment["MinimumHealthyPercent"], deployment["DeploymentCircuitBreaker"]) != (100, {"Enable": True, "Rollback": True}):
        yield "a deployment ends what runs before there is another, or never gives up"


def variables(service, _, application):
    given = environment(service)
    if (secret := set(given) & {"WEBHOOK_SECRET"}) or any(f'"{name}"' in json.dumps(given) for name in SECRETS - {"AuthJwks"}):
        yield f"a secret stands in the task's definition {secret}"
    configuration = (CHECKOUT / "docs/configuration.md").read_text()
    server = (CHECKOUT / "server/src/lib.rs").read_text()
    known = first_cells(section(configuration, "Variables")) | set(re.findall(r"^  ([A-Z_]+)  +\w", server, re.M))
    for name in sorted(set(given) - known - {"AWS_REGION"}):
        yield f"nothing reads {name}"
    functions = [of_type(application, "AWS::Lambda::Function")[name] for name in ("TestStatus", "QueueStats", "Ingest")]
    needed = {name for function in functions for name in function["Properties"]["Environment"]["Variables"]}
    for name in sorted(needed - set(given) - set(UNSET)):
        yield f"the functions have {name}, and the server has not"
    if given["PROXIES"] != {"Fn::If": ["BehindCloudFront", "2", "1"]}:
        yield "who asks is read from the wrong place, or from what anyone can write"
    if "runcast_writer@" not in json.dumps(given["DATABASE_URL"]):
        yield "it logs in to Postgres as another than the worker"
    if given["REDIS_IAM_USER"] != {"Ref": "ServerRedisUser"}:
        yield "it logs in to Redis as another than itself"


def balancer(service, *_):
    if properties(service, "Balancer")["Type"] != "application":
        yield "the balancer says of nobody who asks"
    attributes_ = attributes(service, "Balancer", "LoadBalancerAttributes")
    if attributes_["routing.http.xff_header_processing.mode"] != "append":
        yield "the balancer says of nobody who asks"
    listener, rule = properties(service, "Listener"), properties(service, "Api")
    if (listener["Protocol"], listener["Port"]) != ("HTTPS", 443) or len(of_type(service, "AWS::ElasticLoadBalancingV2::Listener")) != 1:
        yield "tokens travel in the clear"
    (paths,) = (condition["PathPatternConfig"]["Values"] for condition in rule["Conditions"])
    if listener["DefaultActions"][0]["Type"] != "fixed-response" or paths != ["/api/*"]:
        yield "everybody reads /metrics"
    targets = properties(service, "Targets")
    if targets["HealthCheckPath"] != "/ready":
        yield "a task gets viewers before it can serve them"
    if targets["HealthCheckIntervalSeconds"] * targets["UnhealthyThresholdCount"] < 300:
        yield "a failover of Redis or Postgres ends every stream"
    if properties(service, "Service").get("HealthCheckGracePeriodSeconds", 0) < 60:
        yield "a task is replaced before it can be ready"


def network(service, *_):
    groups = of_type(service, "AWS::EC2::SecurityGroup")
    (ingress,) = groups["TaskGroup"]["Properties"]["SecurityGroupIngress"]
    if (ingress.get("SourceSecurityGroupId"), ingress["FromPort"], ingress["ToPort"]) != ({"Ref": "BalancerGroup"}, 8080, 8080):
        yield "others than the balancer reach the tasks"
    (egress,) = groups["TaskGroup"]["Properties"]["SecurityGroupEgress"]
    if egress["CidrIp"] != "127.0.0.1/32":
        yield "the tasks may connect to where the data's groups do not let them"
    (ingress,) = groups["BalancerGroup"]["Properties"]["SecurityGroupIngress"]
    if ingress["Fn::If"][0] != "BehindCloudFront" or "CidrIp" in ingress["Fn::If"][1]:
        yield "who knows the balancer's name passes by CloudFront"
    used = json.dumps(properties(service, "Service")["NetworkConfiguration"])
    if not all(name in used for name in ("TaskGroup", "SecurityGroupIds")):
        yield "the tasks do not reach the data, or are not reached"
    for name in ("PublicA", "PublicB"):
        if properties(service, name)["AvailabilityZone"] == properties(service, "PublicA" if name == "PublicB" else "PublicB")["AvailabilityZone"]:
            yield "there is one zone"


def rights(service, *_):
    given = set()
    for name, role in of_type(service, "AWS::IAM::Role").items():
        if "Bounded" not in json.dumps(role["Properties"].get("PermissionsBoundary")):
            yield f"{name} has no boundary"
        for part in values(role["Properties"]):
            if isinstance(part, dict) and part.get("Effect") == "Allow" and part["Action"] != "sts:AssumeRole":
                given.add((name, part["Action"]))
                if part["Resource"] == "*":
                    yield f"{name} may {part['Action']} of everything"
    for name, action in sorted(given ^ RIGHTS):
        yield f"{name} may {action}, which nothing uses, or may not, which something does"


def scaling(service, *_):
    if service["Parameters"]["MinTasks"]["MinValue"] < 2:
        yield "nothing takes the place of the one task that fails"
    if "DesiredCount" in properties(service, "Service"):
        yield "each deployment sets back how many tasks there are"
    policies = [policy["Properties"] for policy in of_type(service, "AWS::ApplicationAutoScaling::ScalingPolicy").values()]
    if "ActiveConnectionCount" not in json.dumps(policies):
        yield "streams, which do nearly nothing, fill the tasks, and none is added"


def alarms(service, *_):
    for name, alarm in of_type(service, "AWS::CloudWatch::Alarm").items():
        given = alarm["Properties"]
        if "Alarmed" not in json.dumps(given["AlarmActions"]) or given["OKActions"] != given["AlarmActions"]:
            yield f"{name} tells nobody"
    for part in values(service["Resources"]):
        if isinstance(part, dict) and "MetricName" in part and part["MetricName"] not in METRICS[part["Namespace"]]:
            yield f"AWS counts no {part['MetricName']}"


def parameters(service, data, _):
    """Those that are said to be outputs of the new data are."""
    said = {}
    for name, parameter in service["Parameters"].items():
        found = re.search(r"new data: its output(?: (\w+))?", parameter["Description"])
        if found:
            said[name] = found[1] or name
    for name, output in said.items():
        if output not in data["Outputs"]:
            yield f"{name} is no output of the data: {output}"
    if not {"VpcId", "ServerRedisUser"} <= set(said.values()):
        yield "the data says something that nobody asks for"


def cost(service, *_):
    formula = (CHECKOUT / "local/src/cost/formula.rs").read_text()
    counted = {name: float(number) for name, number in re.findall(r"^const (\w+): f64 = ([\d._]+);", formula, re.M) if "_" not in number}
    definition = properties(service, "Task")
    if int(definition["Cpu"]) / 1024 != counted["TASK_CPUS"] or int(definition["Memory"]) / 1024 != counted["TASK_MEMORY_GB"]:
        yield "tasks of another size are paid for"
    if service["Parameters"]["MinTasks"]["Default"] != counted["LEAST_TASKS"]:
        yield "another number of tasks is paid for"


def kubernetes():
    """The same of the manifest; its schema, the rehearsal has checked."""
    documents = {document["kind"]: document for document in yaml.safe_load_all(KUBERNETES.read_text())}
    spec = documents["Deployment"]["spec"]["template"]["spec"]
    (one,) = spec["containers"]
    grace = int(documents["ConfigMap"]["data"]["SHUTDOWN_GRACE_SECONDS"])
    waits = one["lifecycle"]["preStop"]["sleep"]["seconds"]
    if spec["terminationGracePeriodSeconds"] <= waits + grace + LAST_WORDS_SECONDS:
        yield "kubernetes: a pod is killed before its streams have ended"
    if documents["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
        yield "kubernetes: a deployment ends what runs before there is another"
    probe = one["readinessProbe"]
    if probe["httpGet"]["path"] != "/ready" or probe["periodSeconds"] * probe["failureThreshold"] < 300:
        yield "kubernetes: a failover of Redis or Postgres takes every endpoint away"
    if one["livenessProbe"]["httpGet"]["path"] != "/health":
        yield "kubernetes: a failover of Redis or Postgres restarts every pod"
    if documents["HorizontalPodAutoscaler"]["spec"]["minReplicas"] < 2 or documents["PodDisruptionBudget"]["spec"]["maxUnavailable"] != 1:
        yield "kubernetes: nothing takes the place of the one that fails"
    labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = (
        documents["Deployment"]["spec"]["selector"]["matchLabels"], documents["Service"]["spec"]["selector"],
        documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    )  # fmt: skip
    if any(selector != labels for selector in selectors):
        yield "kubernetes: something selects no pod"
    image = (CHECKOUT / "Containerfile").read_text()
    if f"USER {spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}\n" not in image:
        yield "kubernetes: the image has another user"
    version = re.search(r'^version = "(.*)"', (CHECKOUT / "Cargo.toml").read_text(), re.M)[1]
    if not one["image"].endswith(f":{version}"):
        yield "kubernetes: the image has another version"
