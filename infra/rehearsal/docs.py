"""What the docs name, the templates have, and the other way round."""

import re

from templates import CHECKOUT, of_type

RUNBOOK = CHECKOUT / "docs/operations.md"
# The functions take them, the template does not set them, for a reason.
UNSET = {
    "REDIS_CA_FILE": "the public roots sign ElastiCache's certificates",
    "REDIS_IAM_CACHE": "an ElastiCache endpoint tells it",
}


def check(application, data):
    """What is in one place only."""
    readme = (CHECKOUT / "README.md").read_text()
    runbook = RUNBOOK.read_text()
    configuration = (CHECKOUT / "docs/configuration.md").read_text()
    variables = {
        variable
        for resource in application["Resources"].values()
        for variable in resource.get("Properties", {}).get("Environment", {}).get("Variables", {})
        # Other programs' variables are explained where they are set.
        if not variable.startswith("AWS_")
    }
    yield from differences("variable", first_cells(section(configuration, "Variables")) - set(UNSET), variables)
    alarms = {*of_type(application, "AWS::CloudWatch::Alarm"), *of_type(data, "AWS::CloudWatch::Alarm")}
    yield from differences("alarm", first_cells(section(runbook, "Alarms")), alarms)
    yield from differences("output", first_cells(section(runbook, "Outputs")), set(application["Outputs"]))
    # The queues are elsewhere.
    own = {
        name
        for name, parameter in application["Parameters"].items()
        if parameter["Description"].startswith("own data:") and not name.startswith("Queue")
    }
    yield from differences("parameter of own data", first_cells(section(runbook, "Delete")), own)
    named = set(re.findall(r"`([A-Z][A-Za-z]+)=", readme + runbook))
    for name in sorted(named - set(application["Parameters"])):
        yield f"the docs name the parameter {name}, which the template does not have"


def section(text, title):
    """What stands under a heading."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.S | re.M).group(1)


def first_cells(text):
    """The words in backquotes in the first column of the tables."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.M)
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def differences(what, documented, existing):
    for name in sorted(documented - existing):
        yield f"the docs name the {what} {name}, which the template does not have"
    for name in sorted(existing - documented):
        yield f"the template has the {what} {name}, which the docs do not name"
