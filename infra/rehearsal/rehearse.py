"""The rehearsal of a deployment, as far as it goes without AWS: `make rehearse`.

Builds what would be uploaded, asks every linter, makes every mistake of `mistakes.py`, then deploys to
ministack, an emulator that runs the built functions, and sends an update the whole way.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from contextlib import contextmanager
from pathlib import Path

import docs
import mistakes
import pairs
import rules
import service
import terraform
import tomlkit
from templates import APPLICATION, CHECKOUT, DATA, KUBERNETES, SERVICE, load, translate

BINARIES = ("test-status", "job-status", "queue-stats", "worker", "ingest", "notify", "migrate")
# A cold start loads the whole of it.
MOST_ZIPPED_BYTES = 2_500_000
# Amazon Linux 2023's. https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html
GLIBC = (2, 34)
BUILT = CHECKOUT / ".aws-sam" / "build"
STACK = "runcast"
# As in tests/src/stack.rs: a shared key, and a token of it for the organization `demo`.
TESTS_STACK = (CHECKOUT / "tests/src/stack.rs").read_text()
JWKS = re.sub(r"\s+", "", re.search(r'SHARED_JWKS: &str = r#"(.*?)"#', TESTS_STACK, re.S).group(1))
TOKEN = re.sub(r"\\?\s+", "", re.search(r'SHARED_TOKEN: &str = "(.*?)"', TESTS_STACK, re.S).group(1))
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "SAM_CLI_TELEMETRY": "0",
}


class Failed(Exception):
    """A step of the rehearsal failed."""


def run(*command, **options):
    """Runs a command to its end; what it says is shown where it fails."""
    options.setdefault("env", ENVIRONMENT)
    result = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if result.returncode:
        raise Failed(f"{' '.join(map(str, command))} failed:\n{result.stdout}")
    return result.stdout


def build():
    # All at once: two links run beside each other, and `sam build` finds its work done.
    print("  compiling with the release profile (minutes, the first time)", flush=True)
    run("cargo", "lambda", "build", "--release", *(part for name in BINARIES for part in ("--bin", name)))
    # The emulator runs what is built here.
    run("sam", "build", "--parameter-overrides", "Architecture=x86_64")
    if re.search(r"(: |- )[&*]\w", (BUILT / "template.yaml").read_text()):
        raise Failed("the built template has YAML aliases, which CloudFormation does not read")
    for bootstrap in sorted(BUILT.glob("*/bootstrap")):
        with tempfile.TemporaryFile() as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.write(bootstrap, "bootstrap")
            zipped = file.tell()
        symbols = re.findall(rb"GLIBC_(\d+)\.(\d+)", bootstrap.read_bytes())
        glibc = max((int(major), int(minor)) for major, minor in symbols)
        print(f"  {bootstrap.parent.name:11} {bootstrap.stat().st_size / 1e6:5.2f} MB, zipped {zipped / 1e6:4.2f} MB, glibc {glibc}")
        # CI builds with less optimization: its sizes are not those of a release.
        too_large = zipped > MOST_ZIPPED_BYTES and "CARGO_PROFILE_RELEASE_LTO" not in os.environ
        if too_large or glibc > GLIBC:
            raise Failed(f"{bootstrap.parent.name} is too large, or asks for a newer glibc than Lambda's {GLIBC}")


def lint():
    run("sam", "validate", "--lint", "--region", mistakes.REGION)
    with tempfile.TemporaryDirectory() as folder:
        translated = Path(folder) / "translated.json"
        translated.write_text(json.dumps(translate(load(APPLICATION))))
        # W3002: a nested template is a file until it is uploaded. W1030: see template.yaml.
        run("cfn-lint", "--regions", mistakes.REGION, "--ignore-checks", "W3002", "W1030", "--", str(translated), str(DATA), str(SERVICE))
    application, data = translate(load(APPLICATION)), load(DATA)
    check(rules.check(application, data))
    check(service.check(load(SERVICE), data, application))
    run("kubernetes-validate", "--strict", str(KUBERNETES))
    check(list(service.kubernetes()))
    run("hadolint", "Containerfile")


def check(messages):
    if messages:
        raise Failed("\n".join(messages))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def started(*command, log, **options):
    """Runs a server until the end of the block."""
    with open(log, "w") as file:
        process = subprocess.Popen(command, cwd=CHECKOUT, stderr=file, text=True, **options)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def eventually(what, ask, seconds=60):
    """Asks until the answer is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.2)
    raise Failed(f"not within {seconds} s: {what}")


def get(url, token=TOKEN):
    return ask(urllib.request.Request(url, headers={"X-Auth-Token": token}))


def post(url, body, token=TOKEN):
    headers = {"X-Auth-Token": token, "Content-Type": "application/json"}
    return ask(urllib.request.Request(url, data=body, headers=headers))


def ask(request):
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def overlay(template, supported):
    """The template as the emulator can take it: plain, and without what it lacks."""
    dropped = {}
    for name, resource in list(template["Resources"].items()):
        kind = resource["Type"]
        if kind.startswith("Custom::") or kind in supported and not (kind.endswith("::Alarm") and "Metrics" in resource["Properties"]):
            continue
        reason = "metric math" if kind.endswith("::Alarm") else "the type"
        dropped.setdefault(f"{kind} ({reason})", []).append(name)
        del template["Resources"][name]
    # Nothing but conditions that are false here speaks of what was dropped. The linters have seen it whole.
    text = json.dumps(template)
    # Its conditions know no Fn::Join: a list is the text that was given.
    text = re.sub(r'{"Fn::Join": \["", ({"Ref": "\w+"})\]}', r"\1", text)
    for names in dropped.values():
        for name in names:
            text = re.sub(rf'{{"Fn::GetAtt": \["{name}", "[^"]+"\]}}', '{"Ref": "AWS::NoValue"}', text)
            text = re.sub(rf'{{"Ref": "{name}"}}', '{"Ref": "AWS::NoValue"}', text)
    for kind, names in sorted(dropped.items()):
        print(f"  left out, since ministack lacks it: {kind}: {', '.join(names)}")
    return json.loads(text)


def deploy():
    import boto3
    import pg8000.native

    with tempfile.TemporaryDirectory(prefix="runcast-rehearsal-") as folder:
        folder = Path(folder)
        port = free_port()
        endpoint = f"http://127.0.0.1:{port}"
        emulator = {
            **os.environ, "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1",
            "LAMBDA_EXECUTOR": "local", "LOG_LEVEL": "INFO", "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1",
            "AWS_ENDPOINT_URL": endpoint,
        }  # fmt: skip
        ministack = CHECKOUT / ".venv-producers/bin/ministack"
        with (
            started(str(CHECKOUT / "target/debug/runcast"), "up", "--port", "0", log=folder / "up.log", stdout=subprocess.PIPE) as up,
            started(str(ministack), log=folder / "ministack.log", stdout=subprocess.DEVNULL, env=emulator),
        ):
            try:
                servers = json.loads(up.stdout.readline())
                eventually("ministack answers", lambda: reaches(endpoint))
                # A database of its own, which only the deployment migrates.
                owner = urllib.parse.urlparse(servers["databaseUrl"])
                login = dict(user=owner.username, password=owner.password, host=owner.hostname, port=owner.port)
                postgres = pg8000.native.Connection(database=owner.path[1:], **login)
                postgres.run("CREATE DATABASE rehearsal")
                postgres.close()
                database = owner._replace(path="/rehearsal").geturl()

                session = boto3.Session("test", "test", region_name="us-east-1")
                client = lambda service: session.client(service, endpoint_url=endpoint)  # noqa: E731
                template = package(endpoint, folder, client)
                parameters = {
                    **{f"{who}DatabaseUrl": database for who in ("Streams", "Worker", "Owner")},
                    **{f"{who}RedisUrl": servers["redisUrl"] for who in ("Streams", "Worker")},
                    "AuthJwks": JWKS, "AuthIssuer": "runcast-local", "StreamWindowSeconds": "10",
                    "Architecture": "x86_64", "EventBus": "default", "ArtifactsBucket": "artifacts/{org}",
                }  # fmt: skip
                fails(client, endpoint, template, parameters)
                sam_deploy(endpoint, template, parameters)
                postgres = pg8000.native.Connection(database="rehearsal", **login)
                scene(client, endpoint, postgres)
                tell(client)
                fetch_keys(client, folder)
                redrive(client, endpoint, postgres)
                beside(client)
                # Who copies a database is alone with it.
                postgres.close()
                managed(client, endpoint, template, {**parameters, "StreamHeartbeatSeconds": "3"})
                restored(client, endpoint, template, parameters, login)
                run("sam", "delete", "--no-prompts", "--stack-name", STACK, "--region", "us-east-1",
                    env={**ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint})  # fmt: skip
                left = client("lambda").list_functions()["Functions"]
                check([f"{function['FunctionName']} is left after the deletion" for function in left])
                postgres = pg8000.native.Connection(database="rehearsal", **login)
                (events,) = postgres.run("SELECT count(*) FROM events")[0]
                print(f"  deleted: no function is left, and all {events} events of the log are")
                postgres.close()
            except Exception:
                for log in ("ministack.log", "up.log"):
                    print(f"--- {log}:\n" + (folder / log).read_text()[-6000:], file=sys.stderr)
                raise


def reaches(endpoint):
    try:
        return urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=2).status == 200
    except OSError:
        return False


def supported():
    """The types that the emulator knows."""
    names = "from ministack.services.cloudformation.provisioners import _RESOURCE_HANDLERS as h; print(*h)"
    return set(run(CHECKOUT / ".venv-producers/bin/python", "-c", names).split())


def package(endpoint, folder, client):
    """Uploads what was built, and writes the overlay."""
    client("s3").create_bucket(Bucket="artifacts")
    packaged = folder / "packaged.yaml"
    run("sam", "package", "--template-file", str(BUILT / "template.yaml"), "--s3-bucket", "artifacts", "--output-template-file",
        str(packaged), "--region", "us-east-1", env={**ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint})  # fmt: skip
    application = translate(load(packaged))
    # It has no layers, without whose file the function of new data stops at its start, and never answers.
    application["Resources"]["Schema"]["Properties"]["ServiceTimeout"] = 10
    # Its conditions know no Fn::Split; here the bus has a name.
    application["Conditions"]["BusByArn"] = {"Fn::Equals": ["name", "arn"]}
    application["Conditions"]["KeysFetched"] = {"Fn::Equals": ["new", "own"]}
    _, bucket, key = urllib.parse.urlparse(application["Resources"]["NewDataStack"]["Properties"]["TemplateURL"]).path.split("/", 2)
    client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(overlay(load(DATA), supported())))
    template = folder / "overlay.json"
    # SAM takes no other address of a nested template for an uploaded one.
    template.write_text(json.dumps(overlay(application, supported())).replace(endpoint, "https://s3.us-east-1.amazonaws.com"))
    return template


def sam_deploy(endpoint, template, parameters):
    begun = time.monotonic()
    overrides = [f"{name}={json.dumps(value)}" for name, value in parameters.items()]
    settings = tomlkit.parse((CHECKOUT / "samconfig.toml").read_text())["default"]["deploy"]["parameters"]
    run("sam", "deploy", "--template-file", str(template), "--stack-name", STACK, "--s3-bucket", "artifacts", "--region", "us-east-1",
        "--capabilities", *settings["capabilities"].split(), "--on-failure", settings["on_failure"], "--no-confirm-changeset",
        "--parameter-overrides", *overrides, env={**ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint})  # fmt: skip
    print(f"  deployed in {time.monotonic() - begun:.0f} s")


def beside(client):
    """The service, in a VPC beside what is deployed, as far as the emulator has it: it runs no tasks without Docker."""
    template = overlay(load(SERVICE), supported())
    # Its conditions know no lists.
    template["Conditions"] |= {name: {"Fn::Equals": ["made", made]} for name, made in (("NetworkMade", "made"), ("TasksApart", "given"), ("ZonesNamed", "given"))}
    cloudformation, before = client("cloudformation"), inventory(client)
    vpc = client("ec2").create_vpc(CidrBlock="10.64.0.0/22")["Vpc"]["VpcId"]
    given = {**pairs.SERVICE, "VpcId": vpc, "AuthJwks": JWKS}
    cloudformation.create_stack(
        StackName="service", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
    )  # fmt: skip
    status = lambda: cloudformation.describe_stacks(StackName="service")["Stacks"][0]  # noqa: E731
    stack = eventually("the service is made", lambda: (now := status())["StackStatus"] != "CREATE_IN_PROGRESS" and now)
    events = cloudformation.describe_stack_events(StackName="service")["StackEvents"]
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise Failed(f"the service: {[event.get('ResourceStatusReason') for event in events]}")
    named = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    (made,) = client("ecs").describe_services(cluster=named["ClusterName"], services=[named["ServiceName"]])["services"]
    task = client("ecs").describe_task_definition(taskDefinition=made["taskDefinition"])["taskDefinition"]
    variables = {each["name"]: each["value"] for each in task["containerDefinitions"][0]["environment"]}
    (group,) = client("elbv2").describe_target_groups()["TargetGroups"]
    seen = (variables["REDIS_IAM_USER"], group["HealthCheckPath"], made["loadBalancers"][0]["targetGroupArn"])
    if seen != ("server", "/ready", group["TargetGroupArn"]):
        raise Failed(f"the service is {made}, of {task}, at {group}")
    cloudformation.delete_stack(StackName="service")
    eventually("the service is deleted", lambda: not client("ecs").list_clusters()["clusterArns"])
    client("ec2").delete_vpc(VpcId=vpc)
    check([f"of the service {each} is left" for each in inventory(client) - before])
    print("  the service: its tasks, behind a balancer, in two public subnets; and nothing is left after it")


def inventory(client):
    """What there is in the account, by name."""
    there = {f"secret {secret['Name']}" for secret in client("secretsmanager").list_secrets()["SecretList"]}
    there |= {f"function {function['FunctionName']}" for function in client("lambda").list_functions()["Functions"]}
    there |= {f"queue {url}" for url in client("sqs").list_queues().get("QueueUrls", [])}
    there |= {f"log group {group['logGroupName']}" for group in client("logs").describe_log_groups()["logGroups"]}
    there |= {f"role {role['RoleName']}" for role in client("iam").list_roles()["Roles"]}
    there |= {f"rule {rule['Name']}" for rule in client("events").list_rules()["Rules"]}
    there |= {f"alarm {alarm['AlarmName']}" for alarm in client("cloudwatch").describe_alarms()["MetricAlarms"]}
    there |= {f"VPC {vpc['VpcId']}" for vpc in client("ec2").describe_vpcs()["Vpcs"]}
    there |= {f"users {group['UserGroupId']}" for group in client("elasticache").describe_user_groups()["UserGroups"]}
    there |= {f"cache {group['ReplicationGroupId']}" for group in client("elasticache").describe_replication_groups()["ReplicationGroups"]}
    there |= {f"cluster {cluster['DBClusterIdentifier']}" for cluster in client("rds").describe_db_clusters()["DBClusters"]}
    return there


def fails(client, endpoint, template, parameters):
    """First deployments that fail half-way leave nothing that bars the next, under the same name."""
    before = inventory(client)
    # The data is made; its database, which is none here, cannot be migrated.
    new = {"Data": "new", "CacheKind": "nodes", "AuthJwks": JWKS, "AuthIssuer": "runcast-local"}
    own = {**parameters, "OwnerDatabaseUrl": "postgres://nobody:no@127.0.0.1:1/none"}
    for what, given in (("new data", new), ("own data", own)):
        begun = time.monotonic()
        try:
            sam_deploy(endpoint, template, given)
        except Failed as failed:
            if "Schema" not in str(failed):
                raise
        else:
            raise Failed(f"{what} is deployed, though its database cannot be migrated")
        # Secrets, and snapshots of the database, have names that AWS made up.
        left = {each for each in inventory(client) - before if not each.startswith("secret ")}
        if left:
            raise Failed(f"the deployment of {what} that failed leaves {sorted(left)}")
        print(f"  {what}: the migration fails, nothing is left, in {time.monotonic() - begun:.0f} s")


def outputs(client):
    (stack,) = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def scene(client, endpoint, postgres):
    """One run's life: into the queue, and out of a function URL."""
    answers = outputs(client)
    applied = postgres.run("SELECT count(*) FROM refinery_schema_history")[0][0]
    print(f"  the custom resource has migrated the schema ({applied} migrations)")
    sqs = client("sqs")
    for status in ("waiting", "running", "passed"):
        update = {"eventId": f"rehearsal-{status}", "kind": "job", "id": "rehearsed", "organizationId": "demo",
                  "projectId": "demo", "status": status}  # fmt: skip
        sqs.send_message(QueueUrl=answers["UpdatesQueueUrl"], MessageBody=json.dumps(update), MessageGroupId="job:rehearsed",
                         MessageDeduplicationId=update["eventId"])  # fmt: skip
    logged = lambda: postgres.run("SELECT count(*) FROM events")[0][0] == 3  # noqa: E731
    eventually("the worker logs what SQS brings", logged)
    host = urllib.parse.urlparse(answers["JobStatusAddress"]).hostname
    base = f"{endpoint}/_aws/lambda-url/{host.split('.')[0]}"
    status, headers, body = get(f"{base}/api/job-status/events/rehearsed?lastEventId=0")
    seen = [json.loads(line[6:])["status"] for line in body.splitlines() if line.startswith("data: ") and '"status"' in line]
    if status != 200 or headers["Content-Type"] != "text/event-stream" or seen != ["waiting", "running", "passed"]:
        raise Failed(f"the function URL answers {status} {headers['Content-Type']} {body}")
    if '{"reason":"complete"}' not in body:
        raise Failed(f"the stream does not end: {body}")
    status, _, body = get(f"{base}/api/job-status/events/rehearsed", token="none")
    if status != 401:
        raise Failed(f"no token, and the function URL answers {status} {body}")
    print("  SQS, worker, log, job-status, function URL: three events, in order, then the end; 401 without a token")
    artifact(client, endpoint, answers)
    host = urllib.parse.urlparse(answers["IngestAddress"]).hostname
    sent = [{"eventId": f"sent-{status}", "kind": "job", "id": "sent", "projectId": "demo", "status": status}
            for status in ("running", "passed")]  # fmt: skip
    updates = f"{endpoint}/_aws/lambda-url/{host.split('.')[0]}/api/updates"
    body = json.dumps({"updates": sent}).encode()
    status, _, said = post(updates, body)
    if status != 200 or json.loads(said)["accepted"] != 2:
        raise Failed(f"ingest answers {status} {said}")
    # Not by gzip: ministack passes every body on as text.
    status, _, said = post(updates, body)
    if status != 200 or json.loads(said)["duplicates"] != 2:
        raise Failed(f"ingest answers {status} {said} to the same once more")
    status, _, said = post(updates, body, "none")
    if status != 401:
        raise Failed(f"no token, and ingest answers {status} {said}")
    print("  ingest, function URL: two updates accepted, the same known already; 401 without a token")
    answer = client("lambda").invoke(FunctionName=answers["MigrateFunction"], Payload='{"action":"prune","olderThanDays":30}')
    pruned = json.loads(answer["Payload"].read())
    if pruned != {"prunedEvents": 0, "prunedRejectedUpdates": 0}:
        raise Failed(f"the prune answers {pruned}")


def artifact(client, endpoint, answers):
    """What a test left is read through the URL that test-status signs."""
    key = "demo/a b/trace.txt"
    client("s3").put_object(Bucket="artifacts", Key=key, Body=b"a trace")
    update = {"eventId": "left", "kind": "test", "id": "left", "organizationId": "demo", "projectId": "demo",
              "status": "failed", "s3Url": f"s3://artifacts/{key}"}  # fmt: skip
    client("sqs").send_message(QueueUrl=answers["UpdatesQueueUrl"], MessageBody=json.dumps(update), MessageGroupId="test:left",
                               MessageDeduplicationId="left")  # fmt: skip
    host = urllib.parse.urlparse(answers["TestStatusAddress"]).hostname
    address = f"{endpoint}/_aws/lambda-url/{host.split('.')[0]}/api/test-status/artifacts/left"
    signed = lambda: (answer := get(address))[0] != 404 and answer  # noqa: E731
    status, _, said = eventually("the test is known", signed)
    if status != 200:
        raise Failed(f"test-status answers {status} {said} to who asks for an artifact")
    with urllib.request.urlopen(json.loads(said)["url"], timeout=60) as response:
        if response.read() != b"a trace":
            raise Failed(f"{said} is another object")
    print("  test-status, S3: an artifact, by a URL that it signed")


def invoke(client, name, order):
    answer = client("lambda").invoke(FunctionName=name, Payload=json.dumps(order))
    said = answer["Payload"].read().decode()
    if "FunctionError" in answer:
        raise Failed(f"{name} fails: {said}")
    return json.loads(said)


def fetch_keys(client, folder):
    """The code of the function that fetches keys, with a real provider; what cannot be fetched changes nothing."""
    code = load(APPLICATION)["Resources"]["FetchKeys"]["Properties"]["Code"]["ZipFile"]
    s3 = client("s3")
    s3.create_bucket(Bucket="keys")
    stored = lambda: json.loads(s3.get_object(Bucket="keys", Key="jwks.json")["Body"].read())  # noqa: E731
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with started("node", "tests/node/provider.mjs", log=folder / "provider.log", **pipes) as provider:

        def order(**command):
            print(json.dumps(command), file=provider.stdin, flush=True)
            provider.stdout.readline()

        issuer = json.loads(provider.stdout.readline())["issuer"]
        environment = {
            **ENVIRONMENT, "AWS_ENDPOINT_URL": s3.meta.endpoint_url, "BUCKET": "keys",
            "KEYS_URL": f"{issuer}/.well-known/openid-configuration",
        }  # fmt: skip
        call = (sys.executable, "-c", f"{code}\nhandler({{}}, None)")
        run(*call, env=environment)
        first = stored()
        if [key["kid"] for key in first["keys"]] != ["first"]:
            raise Failed(f"the provider's keys are kept as {first}")
        for fault in ("away", "garbage", "large", "elsewhere"):
            order(do="fault", name=fault)
            if not subprocess.run(call, env=environment, capture_output=True).returncode or stored() != first:
                raise Failed(f"a provider that is {fault} is no failure, or {stored()} is kept of it")
        order(do="fault")
        order(do="rotate", kid="second")
        run(*call, env=environment)
        if [key["kid"] for key in stored()["keys"]] != ["second"]:
            raise Failed(f"another key is not seen: {stored()}")
    print("  fetch-keys, a real OpenID provider, S3: its keys, and the next; its faults change nothing")


def tell(client):
    """A run that fails comes out of the event bus as the rule of docs/operations.md says it."""
    events, sqs = client("events"), client("sqs")
    names = [function["FunctionName"] for function in client("lambda").list_functions()["Functions"]]
    (notify,) = [name for name in names if "-Notify-" in name]
    (worker,) = [name for name in names if "-Worker-" in name]

    blocks = re.findall(r"^```json\n(.*?)^```", docs.section(docs.RUNBOOK.read_text(), "Telling others"), re.M | re.S)
    _, pattern, message, *_ = blocks
    queue = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="told", EventPattern=pattern)
    events.put_targets(Rule="told", Targets=[{"Id": "told", "Arn": arn, **json.loads(message)}])
    # From now on.
    invoke(client, notify, {})
    for number, status in enumerate(("running", "failed")):
        invoke(client, worker, {"updates": [{
            "eventId": f"told-{number}", "kind": "job", "id": "told", "organizationId": "demo", "projectId": "demo",
            "status": status, "name": "Unit tests", "url": "https://ci.example.com/17", "labels": {"commit": "5f0c2e1"},
        }]})  # fmt: skip
    said = invoke(client, notify, {})
    received = lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages")  # noqa: E731
    (heard,) = eventually("the bus has the end of the run", received)
    if json.loads(heard["Body"]) != {"text": "Unit tests: failed, https://ci.example.com/17"}:
        raise Failed(f"the rule's target gets {heard['Body']}, after notify said {said}")
    print("  notify, worker, log, event bus: the end of a run, as the rule of the runbook words it")
    events.remove_targets(Rule="told", Ids=["told"])
    events.delete_rule(Name="told")


def redrive(client, endpoint, postgres):
    """What was given up comes before what is new, by the commands of docs/operations.md."""
    answers, sqs = outputs(client), client("sqs")
    away, back = re.findall(r"^```sh\n(.*?)^```", docs.section(docs.RUNBOOK.read_text(), "Dead letters"), re.M | re.S)
    variables = {"UPDATES_MAPPING": answers["UpdatesMapping"], "DEAD_UPDATES_MAPPING": answers["DeadUpdatesMapping"]}
    environment = {
        **ENVIRONMENT, **variables, "AWS_ENDPOINT_URL": endpoint, "PATH": f"{CHECKOUT}/.venv-producers/bin:{ENVIRONMENT['PATH']}"
    }  # fmt: skip

    def send(queue, status):
        update = {"eventId": f"again-{status}", "kind": "job", "id": "again", "organizationId": "demo", "projectId": "demo", "status": status}
        sqs.send_message(QueueUrl=answers[queue], MessageBody=json.dumps(update), MessageGroupId="job:again",
                         MessageDeduplicationId=update["eventId"])  # fmt: skip

    logged = lambda: [row[0] for row in postgres.run("SELECT status FROM events WHERE id = 'again' ORDER BY seq")]  # noqa: E731
    disabled, _ = away.splitlines()
    run("bash", "-euc", disabled, env=environment)
    send("UpdatesQueueUrl", "passed")
    for status in ("waiting", "running"):
        send("DeadUpdatesQueueUrl", status)
    run("bash", "-euc", away, env=environment)
    eventually("the worker logs what was given up", lambda: logged() == ["waiting", "running"])
    run("bash", "-euc", back, env=environment)
    eventually("and then what is new", lambda: logged() == ["waiting", "running", "passed"])
    print("  what was given up is taken first, then what is new, as the runbook says it")


def managed(client, endpoint, template, parameters):
    """The streaming functions move to managed instances and back, as other functions, in an update that changes more."""
    # No VPC is looked up: nothing is attached to it here.
    network = {"VpcSubnetIds": "subnet-a", "VpcSecurityGroupIds": "sg-a"}
    for concurrency, ending in (("64", "-managed"), ("0", "")):
        sam_deploy(endpoint, template, {**parameters, **network, "ManagedConcurrency": concurrency})
        functions = [function["FunctionName"] for function in client("lambda").list_functions()["Functions"]]
        streams = sorted(name for name in functions if re.match(rf"{STACK}-(test-status|job-status|queue-stats)", name))
        if streams != [f"{STACK}-{name}{ending}" for name in ("job-status", "queue-stats", "test-status")]:
            raise Failed(f"with ManagedConcurrency={concurrency} the functions are {functions}")
        host = urllib.parse.urlparse(outputs(client)["JobStatusAddress"]).hostname
        status, _, body = get(f"{endpoint}/_aws/lambda-url/{host.split('.')[0]}/api/job-status/events/rehearsed?lastEventId=0")
        if status != 200 or '"passed"' not in body:
            raise Failed(f"with ManagedConcurrency={concurrency} the function URL answers {status} {body}")
        updated(client)
        print(f"  ManagedConcurrency={concurrency}: other functions, under other URLs, with the same log")


def restored(client, endpoint, template, parameters, login):
    """A log that is restored from a backup, by the steps of docs/operations.md; the backup is a copy of the database."""
    import pg8000.native

    def report(number, **fields):
        update = {"eventId": f"restored-{number}", "kind": "job", "id": "restored", "organizationId": "demo", "projectId": "demo", **fields}
        answer = invoke(client, outputs(client)["WorkerFunction"], {"updates": [update]})
        check([f"the worker answers {answer}"] if answer["accepted"] != 1 else [])

    report(1, status="running")
    postgres = pg8000.native.Connection(database="postgres", **login)

    def copied():
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'rehearsal'")
        try:
            postgres.run("CREATE DATABASE restored TEMPLATE rehearsal")
        except pg8000.native.DatabaseError:
            return False
        return True

    eventually("the database is copied", copied)
    postgres.close()
    # What the backup lacks, and a viewer has seen.
    report(2, status="running", progress={"completed": 1, "total": 2})

    def elsewhere(*who):
        return {f"{name}DatabaseUrl": parameters[f"{name}DatabaseUrl"].replace("/rehearsal", "/restored") for name in who}

    def migrations():
        pages = client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=STACK)
        events = [(event["LogicalResourceId"], event["ResourceStatus"]) for page in pages for event in page["StackEvents"]]
        return events.count(("Schema", "UPDATE_COMPLETE"))

    before = migrations()
    sam_deploy(endpoint, template, {**parameters, **elsewhere("Owner")})
    if migrations() != before + 1:
        raise Failed("another database is not migrated")
    epoch = invoke(client, outputs(client)["MigrateFunction"], json.loads((CHECKOUT / "infra/events/restored.json").read_text()))
    sam_deploy(endpoint, template, {**parameters, **elsewhere("Owner", "Streams", "Worker")})
    report(3, status="passed")
    host = urllib.parse.urlparse(outputs(client)["JobStatusAddress"]).hostname
    status, _, body = get(f"{endpoint}/_aws/lambda-url/{host.split('.')[0]}/api/job-status/events/restored?lastEventId=2")
    if status != 200 or "event: reset" not in body or '"passed"' not in body:
        raise Failed(f"in the epoch {epoch} who has seen the lost event gets {status} {body}")
    print("  restored: the copy is migrated, a new epoch begins, and who has seen what it lacks gets a reset")


def updated(client):
    functions = client("lambda").list_functions()["Functions"]
    variables = [function["Environment"]["Variables"] for function in functions if function.get("Environment")]
    heartbeats = [each["STREAM_HEARTBEAT_SECONDS"] for each in variables if "STREAM_HEARTBEAT_SECONDS" in each]
    if heartbeats != ["3"] * 3:
        raise Failed(f"after the update the heartbeats are {heartbeats}")
    print("  updated: the functions have the new heartbeat")


STEPS = [
    ("build", build),
    ("lint", lint),
    ("docs", lambda: check(list(docs.check(load(APPLICATION), load(DATA))))),
    ("mistakes", lambda: check([f"nobody catches: {name}" for name in mistakes.uncaught()])),
    ("every pair of parameters", lambda: check(list(pairs.check(translate(load(APPLICATION)), load(DATA), load(SERVICE))))),
    ("terraform", lambda: check(list(terraform.check(load(APPLICATION))))),
    ("deploy to ministack, update, delete", deploy),
]


def main():
    for name, step in STEPS:
        print(f"{name}:", flush=True)
        begun = time.monotonic()
        try:
            step()
        except Failed as failed:
            sys.exit(f"{name}: {failed}")
        print(f"  {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
