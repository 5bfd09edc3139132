#!/usr/bin/env python3
"""Writes vectors.json and objects.json: tokens, and URLs of objects, as AWS's own botocore signs them, with
fixed credentials and times.

    .venv-producers/bin/python tests/iam/vectors.py
"""

import datetime
import json
from pathlib import Path
from unittest import mock
from urllib.parse import quote, urlencode

import botocore.auth
import botocore.compat
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.model import ServiceId
from botocore.signers import RequestSigner

# The example keys of AWS's documentation; they open nothing.
KEYS = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SESSION_TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLWVhc3QtMSJHMEU+a/b=="
TIMES = (1440938160, 1769860799, 1951827000)


def clock(unix_seconds):
    now = datetime.datetime.fromtimestamp(unix_seconds, datetime.timezone.utc)
    return mock.patch.object(botocore.auth, "get_current_datetime", lambda **_: now.replace(tzinfo=None))


def sign(region, service, url, session_token, unix_seconds):
    session = botocore.session.Session()
    signer = RequestSigner(
        ServiceId(service), region, service, "v4", Credentials(*KEYS, session_token), session.get_component("event_emitter")
    )
    with clock(unix_seconds):
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


def object_url(bucket, key, region, session_token, unix_seconds, endpoint=None):
    # The global endpoint that botocore still has for us-east-1 is not that of the region.
    config = Config(signature_version="s3v4", s3={"us_east_1_regional_endpoint": "regional"})
    client = botocore.session.Session().create_client(
        "s3", region, endpoint_url=endpoint, config=config,
        aws_access_key_id=KEYS[0], aws_secret_access_key=KEYS[1], aws_session_token=session_token,
    )  # fmt: skip
    with clock(unix_seconds):
        url = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, ExpiresIn=300)
    return {
        "region": region,
        "accessKeyId": KEYS[0],
        "secretAccessKey": KEYS[1],
        "sessionToken": session_token,
        "unixSeconds": unix_seconds,
        "object": f"s3://{bucket}/{key}",
        "endpoint": endpoint,
        "url": url,
    }


def objects():
    keys = ("traces/trace.zip", "a b/ü+%41&=?#~.png", "a//../b/./c", "/")
    for region, token, time in zip(("us-east-1", "cn-north-1", "eusc-de-east-1"), (SESSION_TOKEN, None, SESSION_TOKEN), TIMES):
        for key in keys:
            yield object_url("artifacts", key, region, token, time)
        yield object_url("ci.example.com", keys[1], region, token, time)
        yield object_url("artifacts", keys[1], region, token, time, "http://127.0.0.1:4566")


def write(name, vectors):
    text = json.dumps(list(vectors), indent=1)
    Path(__file__).with_name(name).write_text(text + "\n")


write("vectors.json", vectors())
write("objects.json", objects())
