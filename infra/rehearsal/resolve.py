"""What CloudFormation makes of a template where its parameters have values: which rules hold, and what is made."""

import ipaddress
import json
import re

from templates import schema

PSEUDO = {
    "AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012", "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "runcast",
    "AWS::StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/runcast/1c2fa620-982a-11e3-aff7-50e2416294e0",
}  # fmt: skip
ABSENT = {"Ref": "AWS::NoValue"}


class Refused(Exception):
    """CloudFormation would not take these parameters, or this template."""


class Stack:
    """A template with values for its parameters. Resources are strings to each other: `Ref Name`, `Name.Attribute`."""

    def __init__(self, template, parameters=None, region="us-east-1"):
        self.template = template
        self.values = {**PSEUDO, "AWS::Region": region, **self.parameters(parameters or {})}
        self.broken = [said for rule in template.get("Rules", {}).values() for said in self.broken_by(rule)]
        self.conditions = {name: self.condition({"Condition": name}) for name in template.get("Conditions", {})}
        self.made = {
            name for name, resource in template["Resources"].items() if self.conditions.get(resource.get("Condition"), True)
        }

    def parameters(self, given):
        declared = self.template.get("Parameters", {})
        if unknown := set(given) - set(declared):
            raise Refused(f"there is no parameter {sorted(unknown)}")
        values = {}
        for name, parameter in declared.items():
            if name not in given and "Default" not in parameter:
                raise Refused(f"{name} has no value")
            text = str(given.get(name, parameter.get("Default")))
            if "AllowedValues" in parameter and text not in map(str, parameter["AllowedValues"]):
                raise Refused(f"{name} is {text!r}")
            if "AllowedPattern" in parameter and not re.fullmatch(parameter["AllowedPattern"], text):
                raise Refused(f"{name} is {text!r}: {parameter.get('ConstraintDescription')}")
            if parameter["Type"] == "Number" and not parameter.get("MinValue", 0) <= float(text) <= parameter.get("MaxValue", 1e18):
                raise Refused(f"{name} is {text}")
            if len(text) < parameter.get("MinLength", 0):
                raise Refused(f"{name} is too short")
            values[name] = [part.strip() for part in text.split(",")] if parameter["Type"] == "CommaDelimitedList" else text
        return values

    def broken_by(self, rule):
        if self.condition(rule.get("RuleCondition", {"Fn::Equals": ["", ""]})):
            for assertion in rule["Assertions"]:
                if not self.condition(assertion["Assert"]):
                    yield assertion["AssertDescription"]

    def condition(self, node):
        ((function, given),) = node.items()
        match function:
            case "Condition":
                return self.condition(self.template["Conditions"][given])
            case "Fn::And":
                return all(self.condition(each) for each in given)
            case "Fn::Or":
                return any(self.condition(each) for each in given)
            case "Fn::Not":
                return not self.condition(given[0])
            case "Fn::Equals":
                one, other = map(self.value, given)
                return str(one) == str(other)
            case "Fn::Contains":
                return self.value(given[1]) in map(str, self.value(given[0]))
            case "Fn::EachMemberEquals":
                return all(each == self.value(given[1]) for each in self.value(given[0]))
        raise Refused(f"{function} is no condition")

    def value(self, node):
        """A part of the template with its functions applied; `ABSENT` for what it leaves out."""
        if isinstance(node, list):
            return [value for value in map(self.value, node) if value != ABSENT]
        if not isinstance(node, dict):
            return node
        if len(node) != 1 or not (set(node) & {"Ref", "Condition"} or next(iter(node)).startswith("Fn::")):
            values = {key: self.value(child) for key, child in node.items()}
            return {key: value for key, value in values.items() if value != ABSENT}
        ((function, given),) = node.items()
        match function:
            case "Ref" if given == "AWS::NoValue":
                return ABSENT
            case "Ref":
                return self.values[given] if given in self.values else self.of(given, f"Ref {given}")
            case "Fn::GetAtt":
                name, attribute = given if isinstance(given, list) else given.split(".", 1)
                return self.of(name, f"{name}.{self.value(attribute)}")
            case "Fn::If":
                return self.value(given[1] if self.conditions[given[0]] else given[2])
            case "Fn::Join":
                return str(given[0]).join(map(str, self.value(given[1])))
            case "Fn::Split":
                return self.value(given[1]).split(given[0])
            case "Fn::Select":
                return self.value(given[1])[int(given[0])]
            case "Fn::GetAZs":
                return [f"{self.values['AWS::Region']}{letter}" for letter in "abc"]
            case "Fn::Cidr":
                block, count, bits = map(self.value, given)
                parts = ipaddress.ip_network(block).subnets(new_prefix=32 - int(bits))
                return [str(part) for part, _ in zip(parts, range(int(count)))]
            case "Fn::Sub":
                text, variables = given if isinstance(given, list) else (given, {})
                variables = {key: self.value(value) for key, value in variables.items()}
                return re.sub(r"\$\{([^!][^}]*)\}", lambda found: str(self.named(found[1], variables)), text)
        if function == "Condition":
            return self.conditions[given] if isinstance(given, str) else {"Condition": self.value(given)}
        raise Refused(f"{function} is unknown here")

    def named(self, name, variables):
        if name in variables:
            return variables[name]
        return self.value({"Fn::GetAtt": name.split(".", 1)} if "." in name else {"Ref": name})

    def of(self, name, said):
        if name not in self.made:
            raise Refused(f"{said} is asked for, and {name} is not made")
        # An address and an ARN have their parts.
        if said.endswith("FunctionUrl"):
            return f"https://{said}/"
        return f"arn:aws:of:us-east-1:0:{said}:{said}" if re.search(r"Arn$|ARN$", said) else said

    def resources(self):
        """What is made: the type and the properties of each."""
        made = {}
        for name in sorted(self.made):
            resource = self.template["Resources"][name]
            for other in resource.get("DependsOn", []) if isinstance(resource.get("DependsOn"), list) else [resource.get("DependsOn")]:
                if other and other not in self.template["Resources"]:
                    raise Refused(f"{name} waits for {other}, which is not there")
            made[name] = {"Type": resource["Type"], "Properties": self.value(resource.get("Properties", {}))}
        return made

    def outputs(self):
        outputs = self.template.get("Outputs", {})
        return {name: self.value(output["Value"]) for name, output in outputs.items() if self.conditions.get(output.get("Condition"), True)}


def update(template, before, after):
    """What an update does to each resource: `made`, `gone`, `replaced` or `changed`, with the properties that differ."""
    old, new = (Stack(template, parameters).resources() for parameters in (before, after))
    done = {name: ("made", set()) for name in new.keys() - old.keys()}
    done |= {name: ("gone", set()) for name in old.keys() - new.keys()}
    pending = old.keys() & new.keys()
    # What names a replaced resource gets another value, and may be replaced itself.
    replaced = set()
    while True:
        found = set()
        for name in pending:
            fixed = {path.split("/")[2] for path in schema(new[name]["Type"]).get("createOnlyProperties", [])}
            one, other = old[name]["Properties"], new[name]["Properties"]
            differs = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
            differs |= {key for key in other if any(re.search(rf"\b{each}\b", json.dumps(other[key])) for each in replaced)}
            if differs:
                done[name] = ("replaced" if differs & fixed else "changed", differs)
            if differs & fixed:
                found.add(name)
        if found == replaced:
            return done
        replaced = found
