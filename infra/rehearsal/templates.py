"""The templates, as people write them and as CloudFormation gets them."""

import json
import logging
import os
import re
from functools import cache
from pathlib import Path
from unittest.mock import Mock

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

import cfnlint  # noqa: E402
from samcli.yamlhelper import yaml_parse  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402

# It warns of metrics and switches of its own that nobody asked for.
logging.getLogger("samtranslator").setLevel(logging.ERROR)

CHECKOUT = Path(__file__).resolve().parents[2]
APPLICATION = CHECKOUT / "template.yaml"
DATA = CHECKOUT / "infra" / "data.yaml"
SERVICE = CHECKOUT / "infra" / "service.yaml"
KUBERNETES = CHECKOUT / "infra" / "kubernetes.yaml"


def load(path):
    """A template as a dictionary; `!Ref` and its like in their long form."""
    return json.loads(parsed(Path(path).read_text()))


@cache
def parsed(text):
    """YAML as JSON. In YAML an alias is the same object in two places, which a change would change twice."""
    return json.dumps(yaml_parse(text))


def translate(template):
    """What SAM makes of a template: plain CloudFormation. Code that is not uploaded gets an address."""
    template = json.loads(json.dumps(template))
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        for name in ("CodeUri", "ContentUri"):
            if isinstance(properties.get(name), str) and not properties[name].startswith("s3://"):
                properties[name] = "s3://bucket/code.zip"
        if isinstance(properties.get("Code"), str):
            properties["Code"] = {"S3Bucket": "bucket", "S3Key": "code.zip"}
    policies = Mock()
    policies.load.return_value = {}
    return json.loads(json.dumps(transform(template, {}, policies)))


def of_type(template, resource_type):
    """The resources of a type, by name."""
    resources = template["Resources"].items()
    return {name: resource for name, resource in resources if resource["Type"] == resource_type}


def properties(template, name):
    """The properties of a resource."""
    return template["Resources"][name]["Properties"]


@cache
def schema(resource_type):
    """AWS's own schema of a type, as the linter has it."""
    schemas = Path(cfnlint.__file__).parent / "data" / "schemas"
    files = json.loads((schemas / "providers" / "us-east-1.json").read_text())
    return json.loads((schemas / "resources" / f"{files[resource_type]}.json").read_text()) if resource_type in files else {}


def custom_names(template, name):
    """The names that a resource is given, by property, and not those of what it is a part of: nothing else may have them."""
    resource = template["Resources"][name]
    kind = resource["Type"].rsplit("::", 1)[1]
    described = schema(resource["Type"])
    identifiers = {path.split("/")[2] for path in described.get("primaryIdentifier", [])}
    fixed = {path.split("/")[2] for path in described.get("createOnlyProperties", [])} | identifiers
    given = {key: value for key, value in resource.get("Properties", {}).items() if key in fixed and re.search(r"(Name|Id|Identifier)$", key)}
    others = {key for key, value in given.items() if refers(value) & set(template["Resources"])}
    # What it is attached to is no part of its name.
    if any(not key.endswith("SubnetGroupName") for key in others):
        return {}
    return {key: given[key] for key in set(given) - others if key in identifiers or kind.startswith(key.removesuffix("Name"))}


def refers(node):
    """What a part of a template names by `Ref`, `GetAtt` and `Sub`."""
    return {name for pair in re.findall(r'"(?:Ref|Fn::GetAtt)": \[?"([\w:]+)|\$\{([\w:]+)', json.dumps(node)) for name in pair if name}


def values(node):
    """Everything in a part of a template."""
    yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from values(child)
