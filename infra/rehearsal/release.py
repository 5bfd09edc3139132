"""What is deployed without Rust: for each architecture a folder in a zip, and the checksums of all: `make release`.

A folder has the functions, zipped, a template that names them, the Terraform module, the dashboard's files, and bills of
materials (CycloneDX): `sam deploy --guided` there, or Terraform with the folder as its `artifacts`.
"""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import terraform
from rehearse import BINARIES, Failed, run
from templates import APPLICATION, CHECKOUT, load

TARGET = CHECKOUT / "target/release-files"
ROOTS = "roots.zip"
# The same files make the same zip.
EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if file.name == "bootstrap" else 0o644) << 16
            archive.writestr(entry, file.read_bytes())


def template(architecture):
    """The template, whose functions are the zips beside it."""
    whole = load(APPLICATION)
    whole["Parameters"]["Architecture"] |= {"Default": architecture, "AllowedValues": [architecture]}
    # Of conditions on the architecture, one side is never reached.
    whole["Metadata"]["cfn-lint"]["config"]["ignore_checks"].append("W1028")
    for resource in whole["Resources"].values():
        binary = resource.get("Metadata", {}).get("BuildProperties", {}).get("Binary")
        if binary:
            del resource["Metadata"]
            code = "CodeUri" if "CodeUri" in resource["Properties"] else "Code"
            resource["Properties"][code] = f"{binary}.zip"
    whole["Resources"]["Roots"]["Properties"]["ContentUri"] = ROOTS
    return whole


def release(architecture, flags):
    built = CHECKOUT / f"target/lambda-{architecture}"
    bins = (part for name in BINARIES for part in ("--bin", name))
    run("cargo", "lambda", "build", "--release", *flags, "--lambda-dir", built, *bins)
    version = json.loads(run("cargo", "metadata", "--no-deps", "--format-version", "1"))["packages"][0]["version"]
    name = f"runcast-{version}-{architecture}"
    folder = TARGET / name
    (folder / "infra").mkdir(parents=True)
    for binary in BINARIES:
        pack(folder / f"{binary}.zip", {"bootstrap": built / binary / "bootstrap"})
    (folder / "template.yaml").write_text(json.dumps(template(architecture), indent=1))
    shutil.copy(CHECKOUT / "infra/data.yaml", folder / "infra")
    pack(folder / ROOTS, {file.name: file for file in (CHECKOUT / "infra/layer").iterdir()})
    shutil.copytree(terraform.MODULE, folder / "terraform", ignore=shutil.ignore_patterns(".terraform*"))
    shutil.copytree(CHECKOUT / "web/dist", folder / "dashboard")
    bills(folder / "sbom", architecture)
    for file in ("samconfig.toml", "LICENSE"):
        shutil.copy(CHECKOUT / file, folder)
    run("sam", "validate", "--region", "us-east-1", "--template-file", folder / "template.yaml")
    files = [file for file in folder.rglob("*") if file.is_file()]
    pack(TARGET / f"{name}.zip", {str(Path(name) / file.relative_to(folder)): file for file in files})
    return TARGET / f"{name}.zip"


def bills(folder, architecture):
    """What each function is made of, and the dashboard: https://cyclonedx.org."""
    folder.mkdir()
    target = {"x86_64": "x86_64", "arm64": "aarch64"}[architecture] + "-unknown-linux-gnu"
    run("cargo", "cyclonedx", "--format", "json", "--describe", "binaries", "--target", target)
    # It writes beside every manifest of the workspace.
    for bill in [*CHECKOUT.glob("*/*_bin.cdx.json"), *CHECKOUT.glob("functions/*/*_bin.cdx.json")]:
        name = bill.name.removesuffix("_bin.cdx.json")
        if name in BINARIES:
            shutil.copy(bill, folder / f"{name}.cdx.json")
        bill.unlink()
    made = run("npm", "--prefix", "web", "sbom", "--sbom-format", "cyclonedx")
    (folder / "dashboard.cdx.json").write_text(made)
    missing = {*BINARIES, "dashboard"} - {path.name.split(".")[0] for path in folder.iterdir()}
    if missing:
        raise Failed(f"no bill of materials of {sorted(missing)}")


def main():
    shutil.rmtree(TARGET, ignore_errors=True)
    made = [release("x86_64", []), release("arm64", ["--arm64"])]
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made)
    (TARGET / "SHA256SUMS").write_text(sums)
    print(sums, end="")


if __name__ == "__main__":
    main()
