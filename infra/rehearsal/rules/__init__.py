"""What no linter knows of these templates. Each rule yields what is wrong, in a sentence."""

from calls import calls
from resolve import Refused
from updates import updates

from .composition import names, nested, parameters
from .data import cache, database, network
from .front import api, cloudfront
from .functions import functions, keys, notify, permissions, queues, schema, urls
from .operation import alarms, cost

RULES = (functions, urls, queues, schema, notify, keys, api, cloudfront, permissions, parameters, alarms, nested, names,
         network, cache, database, updates, calls, cost)  # fmt: skip


def check(application, data, only=None):
    """All that is wrong with the two templates, the first as SAM translates it."""
    found = []
    for rule in RULES:
        name = rule.__name__
        if only not in (None, name):
            continue
        try:
            found += [f"{name}: {message}" for message in rule(application, data)]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, Refused) as error:
            found.append(f"{name}: something is missing or of another form: {error!r}")
    return found
