"""The AWS provider as far as Terraform asks of it without AWS: what `provider_schema.json` takes, and made-up ids."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from os import getpid

import grpc
import msgpack
from provider_schema import SCHEMA
from resolve import PSEUDO
from tf.gen import tfplugin_pb2 as proto
from tf.gen.tfplugin_pb2_grpc import ProviderServicer, add_ProviderServicer_to_server

KNOWN = json.loads(SCHEMA.read_text())
UNKNOWN = msgpack.ExtType(0, b"\0")
# What the account says of itself.
ACCOUNT = {
    "region": PSEUDO["AWS::Region"], "account_id": PSEUDO["AWS::AccountId"], "partition": PSEUDO["AWS::Partition"],
    "dns_suffix": PSEUDO["AWS::URLSuffix"],
}  # fmt: skip
NESTING = {"list": proto.Schema.NestedBlock.LIST, "set": proto.Schema.NestedBlock.SET}


def block(known):
    attributes = [
        proto.Schema.Attribute(
            name=name,
            type=json.dumps(said["type"]).encode(),
            required=said["required"],
            optional=said["optional"],
            computed=said["computed"],
        )
        for name, said in known["attributes"].items()
    ]
    blocks = [
        proto.Schema.NestedBlock(
            type_name=name, block=block(said), nesting=NESTING[said["nesting"]],
            min_items=int(said["required"]), max_items=int(said["one"]),
        )
        for name, said in known["blocks"].items()
    ]  # fmt: skip
    return proto.Schema.Block(attributes=attributes, block_types=blocks)


def packed(value):
    return proto.DynamicValue(msgpack=msgpack.packb(value))


def unpacked(value):
    return msgpack.unpackb(value.msgpack)


class Provider(ProviderServicer):
    def __init__(self):
        self.made = count()
        resources, data = ({name: proto.Schema(block=block(said)) for name, said in KNOWN[kind].items()} for kind in ("resource", "data"))
        self.schema = proto.GetProviderSchema.Response(
            provider=proto.Schema(block=proto.Schema.Block()), resource_schemas=resources, data_source_schemas=data
        )

    def GetProviderSchema(self, request, context):
        return self.schema

    def ValidateProviderConfig(self, request, context):
        return proto.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request, context):
        return proto.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request, context):
        return proto.ValidateDataResourceConfig.Response()

    def ConfigureProvider(self, request, context):
        return proto.ConfigureProvider.Response()

    def ReadDataSource(self, request, context):
        state = unpacked(request.config)
        return proto.ReadDataSource.Response(state=packed({name: ACCOUNT.get(name, value) for name, value in state.items()}))

    def UpgradeResourceState(self, request, context):
        return proto.UpgradeResourceState.Response(upgraded_state=packed(json.loads(request.raw_state.json)))

    def ReadResource(self, request, context):
        return proto.ReadResource.Response(new_state=request.current_state)

    def PlanResourceChange(self, request, context):
        state = unpacked(request.proposed_new_state)
        if state:
            attributes = KNOWN["resource"][request.type_name]["attributes"]
            state |= {name: UNKNOWN for name, said in attributes.items() if said["computed"] and state[name] is None}
        return proto.PlanResourceChange.Response(planned_state=packed(state))

    def ApplyResourceChange(self, request, context):
        state = unpacked(request.planned_state)
        if state:
            called = f"{request.type_name}-{next(self.made)}"
            attributes = KNOWN["resource"][request.type_name]["attributes"]
            unknown = [name for name, value in state.items() if value == UNKNOWN]
            state |= {name: made_up(f"{called}-{name}", attributes[name]["type"]) for name in unknown}
        return proto.ApplyResourceChange.Response(new_state=packed(state))

    def StopProvider(self, request, context):
        return proto.StopProvider.Response()


def made_up(called, of):
    if of == "string":
        return f"https://{called}/" if called.endswith("_url") else called
    return {"number": 0, "bool": False}.get(of) if isinstance(of, str) else [] if of[0] != "map" else {}


@contextmanager
def served(socket):
    """Serves it; what Terraform has to know of it."""
    server = grpc.server(ThreadPoolExecutor(8))
    add_ProviderServicer_to_server(Provider(), server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    there = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": getpid(), "Test": True, "Addr": {"Network": "unix", "String": str(socket)}}
    try:
        yield json.dumps({"registry.terraform.io/hashicorp/aws": there})
    finally:
        server.stop(None)
