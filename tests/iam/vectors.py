#!/usr/bin/env python3
"""Writes vectors.json: tokens as AWS's own botocore signs them, with fixed credentials and times.

    .venv-producers/bin/python tests/iam/vectors.py > tests/iam/vectors.json
"""

import datetime
import json
import sys
from unittest import mock
from urllib.parse import quote, urlencode

import botocore.auth
import botocore.compat
import botocore.session
from botocore.credentials import Credentials
from botocore.model import ServiceId
from botocore.signers import RequestSigner

# The example keys of AWS's documentation; they open nothing.
KEYS = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SESSION_TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLWVhc3QtMSJHMEU+a/b=="
TIMES = (1440938160, 1769860799, 1951827000)


def sign(region, service, url, session_token, unix_seconds):
    session = botocore.session.Session()
    signer = RequestSigner(
        ServiceId(service), region, service, "v4", Credentials(*KEYS, session_token), session.get_component("event_emitter")
    )
    now = datetime.datetime.fromtimestamp(unix_seconds, datetime.timezone.utc)
    clock = mock.patch.object(botocore.auth, "get_current_datetime", lambda **_: now.replace(tzinfo=None))
    with clock:
        signed = signer.generate_presigned_url(
            {"method": "GET", "url": url, "body": {}, "headers": {}, "context": {}},
            operation_name="connect",
            expires_in=900,
            region_name=region,
        )
    return signed.removeprefix("https://")


def vector(region, session_token, unix_seconds, user, url, service, **where):
    return {
        "region": region,
        "accessKeyId": KEYS[0],
        "secretAccessKey": KEYS[1],
        "sessionToken": session_token,
        "unixSeconds": unix_seconds,
        "user": user,
        **where,
        "token": sign(region, service, url, session_token, unix_seconds),
    }


def cache(resource, user, region, session_token, unix_seconds):
    kind, name = resource.split(":")
    query = {"Action": "connect", "User": user}
    if kind == "serverlesscache":
        query["ResourceType"] = "ServerlessCache"
    url = f"https://{name.lower()}/?{urlencode(query, quote_via=quote)}"
    return vector(region, session_token, unix_seconds, user, url, "elasticache", cache=resource)


def database(host, port, user, region, session_token, unix_seconds):
    query = urlencode({"Action": "connect", "DBUser": user}, quote_via=quote)
    url = f"https://{host}:{port}/?{query}"
    return vector(region, session_token, unix_seconds, user, url, "rds-db", host=host, port=port)


def vectors():
    for region, token, time in zip(("us-east-1", "eu-central-1", "cn-north-1"), (SESSION_TOKEN, None, SESSION_TOKEN), TIMES):
        yield cache("replicationgroup:status", "runcast-streams", region, token, time)
        yield cache("serverlesscache:My-Cache", "runcast-worker", region, token, time)
        host = f"status.proxy-abcdefghijkl.{region}.rds.amazonaws.com"
        yield database(host, 5432, "runcast_reader", region, token, time)
        yield database(host, 6543, "a user+with/odd=signs&more~-.", region, token, time)


json.dump(list(vectors()), sys.stdout, indent=1)
print()
