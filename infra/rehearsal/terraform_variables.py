"""The Terraform module's variables: the template's parameters.

    .venv/bin/python infra/rehearsal/terraform_variables.py    # writes infra/terraform/variables.tf
"""

import json
import re

from templates import APPLICATION, CHECKOUT, load

MODULE = CHECKOUT / "infra/terraform"
VARIABLES = MODULE / "variables.tf"
# What the module leaves to others, and why.
LEFT = {
    **dict.fromkeys(
        (
            "Data",
            "VpcCidr",
            "AvailabilityZones",
            "CacheKind",
            "DatabaseMaxCapacity",
            "DatabaseReplicas",
            "DatabaseProxy",
            "DatabaseProtected",
        ),
        "who has Terraform has modules for a VPC, a cache and a database",
    ),
    **dict.fromkeys(("DataSecret", "DataSecretVersion"), "a data source of the caller's reads it"),
    **dict.fromkeys(
        ("ManagedConcurrency", "ManagedMaxEnvironments", "ManagedMaxVcpus", "ManagedInstanceType"),
        "managed instances are the template's only",
    ),
    "RequestsPerFiveMinutes": "WebAclArn takes a web ACL of the caller's, with such a rule",
}
# What the template does not require, but the rules do without what is left.
REQUIRED = ("StreamsRedisUrl", "WorkerRedisUrl", "StreamsDatabaseUrl", "WorkerDatabaseUrl", "OwnerDatabaseUrl")
OWN_VARIABLES = """\
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
"""


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def said(text, names):
    """A text of the template in the module's names."""
    text = re.sub(r"^own data: |NoEcho, since .*$", "", text)
    return re.sub(r"\b[A-Z]\w+\b", lambda found: snake(found[0]) if found[0] in names else found[0], text.removesuffix(". "))


def literal(value):
    return json.dumps(value, ensure_ascii=False).replace("${", "$${")


def variable(name, parameter, names):
    """A parameter of the template as a variable."""
    kind, default, text = "string", parameter.get("Default"), f"var.{snake(name)}"
    allowed = parameter.get("AllowedValues", [])
    if parameter["Type"] == "Number":
        kind = "number"
    elif parameter["Type"] == "CommaDelimitedList":
        kind, default = "list(string)", []
    elif allowed == ["true", "false"]:
        kind, allowed, default = "bool", [], default == "true"
    least = 1 if name in REQUIRED else parameter.get("MinLength", 0)
    checks = {}
    if allowed:
        checks[f"contains({literal(allowed)}, {text})"] = f"one of {', '.join(str(value) or 'nothing' for value in allowed)}"
    if "AllowedPattern" in parameter:
        pattern = literal(f"^({parameter['AllowedPattern']})$")
        checks[f"can(regex({pattern}, {text}))"] = parameter["ConstraintDescription"]
    if least:
        checks[f"length({text}) >= {least}"] = "given" if least == 1 else f"at least {least} characters"
    if "MinValue" in parameter:
        checks[f"{text} >= {parameter['MinValue']}"] = f"at least {parameter['MinValue']}"
    if "MaxValue" in parameter:
        checks[f"{text} <= {parameter['MaxValue']}"] = f"at most {parameter['MaxValue']}"
    lines = [f"description = {literal(said(parameter['Description'], names))}", f"type        = {kind}"]
    lines += [] if default is None or name in REQUIRED else [f"default     = {literal(default)}"]
    lines += ["sensitive   = true"] if parameter.get("NoEcho") else []
    lines += ["nullable    = false"]
    if checks:
        message = f"{snake(name)} is {' and '.join(checks.values())}"
        lines += ["validation {", f"  condition     = {' && '.join(checks)}", f"  error_message = {literal(message)}", "}"]
    return f'variable "{snake(name)}" {{\n' + "".join(f"  {line}\n" for line in lines) + "}\n"


def variables(template):
    parameters = template["Parameters"]
    kept = [variable(name, parameter, set(parameters)) for name, parameter in parameters.items() if name not in LEFT]
    return "# Written from the template's parameters by infra/rehearsal/terraform_variables.py.\n\n" + "\n".join([OWN_VARIABLES, *kept])


if __name__ == "__main__":
    VARIABLES.write_text(variables(load(APPLICATION)))
