"""Updates of a stack that exists: what CloudFormation, or the service, would refuse, or do to data."""

from resolve import update
from templates import custom_names

OWN = {
    "AuthJwks": '{"keys":[]}', "AuthIssuer": "issuer", "StreamsRedisUrl": "redis://cache", "WorkerRedisUrl": "redis://cache",
    "StreamsDatabaseUrl": "postgres://reader@db/runcast", "WorkerDatabaseUrl": "postgres://writer@db/runcast",
    "OwnerDatabaseUrl": "postgres://owner:secret@db/runcast", "VpcSubnetIds": "subnet-a,subnet-b", "VpcSecurityGroupIds": "sg-a",
}  # fmt: skip
NEW = {"AuthJwks": '{"keys":[]}', "AuthIssuer": "issuer", "Data": "new"}
# Each is tried there and back, with each front.
APPLICATION = [
    ({}, {"ManagedConcurrency": 64}),
    ({"ManagedConcurrency": 64}, {"ManagedConcurrency": 64, "Architecture": "x86_64"}),
    ({"ManagedConcurrency": 64}, {"ManagedConcurrency": 128, "ManagedMaxEnvironments": 8}),
    ({}, {"Architecture": "x86_64", "StreamMemoryMegabytes": 256, "LogRetentionDays": 90}),
    ({}, {"WorkerReserved": "true", "StreamConcurrency": 50, "IngestConcurrency": 5}),
    ({}, {"EventBus": "default"}),
]
DATA = [
    ({}, {"CacheKind": "nodes"}),
    ({}, {"DatabaseProxy": "true"}),
    ({}, {"LogsEndpoint": "true", "DatabaseMaxCapacity": 16, "DatabaseProtected": "true"}),
]
FRONTS = ("function-urls", "cloudfront", "api-gateway")
# What is in them is gone with them.
KEEPERS = {"AWS::SQS::Queue", "AWS::RDS::DBCluster", "AWS::CloudFormation::Stack", "AWS::S3::Bucket", "AWS::EC2::VPC", "AWS::EC2::Subnet"}


def updates(application, data):
    for one, other in APPLICATION:
        for base in (OWN, NEW):
            for front in FRONTS:
                fixed = {**base, "Front": front}
                yield from refused(application, {**fixed, **one}, {**fixed, **other})
    service = {"ServiceDomainName": "service.example.com"}
    yield from refused(application, {**OWN, "Front": "cloudfront"}, {**OWN, "Front": "cloudfront", **service})
    for one, other in [({"Front": one}, {"Front": other}) for one in FRONTS for other in FRONTS if one < other]:
        yield from refused(application, {**OWN, **one}, {**OWN, **other})
    name = {"Name": "runcast-1c2fa620"}
    for one, other in DATA:
        yield from refused(data, {**name, **one}, {**name, **other})


def refused(template, one, other):
    for before, after in ((one, other), (other, one)):
        change = ", ".join(f"{key}={value}" for key, value in after.items() if before.get(key) != value)
        for name, (done, differs) in update(template, before, after).items():
            resource = template["Resources"][name]
            # Its capacity may become another, but not come or go.
            switched = bool(before.get("ManagedConcurrency")) != bool(after.get("ManagedConcurrency"))
            if done == "changed" and "CapacityProviderConfig" in differs and switched:
                yield f"{change}: Lambda moves {name} neither to managed instances nor from them"
            named = set(custom_names(template, name))
            if done == "replaced" and named and not named & differs:
                yield f"{change}: {name} is replaced, and its name is taken by itself"
            if done == "replaced" and resource["Type"] in KEEPERS:
                yield f"{change}: what is in {name} is lost"
            if done == "gone" and resource["Type"] in KEEPERS and resource.get("DeletionPolicy", "Delete") == "Delete":
                yield f"{change}: what is in {name} is lost"
