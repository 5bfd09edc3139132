"""The image of the Containerfile, built by buildah without a daemon, and run as Kubernetes would: `make container`.

Its first stage needs a registry, so what it would make is made here; the second one is built as it stands. Then it runs,
as its user, with a root that nobody can write to: one run's life, and SIGTERM in a stream.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

from rehearse import JWKS, TOKEN, Failed, eventually, free_port, get, post, run, started
from templates import CHECKOUT

BUILD = re.search(r"^RUN (cargo .*)$", (CHECKOUT / "Containerfile").read_text(), re.M)[1]
TARGET = CHECKOUT / "target/container"
MOST_BYTES = 10_000_000
# The image, mounted, with what each runtime adds, as its own root. Whoever is not root is root of its own namespace there.
START = """
root=$(realpath "$1") user=$2
mkdir "$root/etc" "$root/dev"
echo 127.0.0.1 localhost >"$root/etc/hosts"
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --rbind /dev "$root/dev"
exec chroot --userspec="$user" "$root" "${@:3}"
"""


def build(folder):
    """Builds the image; returns its configuration, and where it is mounted."""
    run(*BUILD.split(), env={**os.environ, "CARGO_TARGET_DIR": str(TARGET)})
    stage = folder / "stage/src/target/release"
    stage.mkdir(parents=True)
    shutil.copy(TARGET / "release/runcast-server", stage)
    run(*buildah(folder), "build", "--quiet", "--build-context", f"build={folder}/stage", "--tag", "runcast-server", "--file", "Containerfile", ".")
    container = run(*buildah(folder), "from", "runcast-server").strip()
    config = json.loads(run(*buildah(folder), "inspect", "--type", "image", "runcast-server"))["OCIv1"]["config"]
    return config, Path(run(*buildah(folder), "mount", container).strip())


def buildah(folder):
    return "buildah", "--storage-driver", "vfs", "--root", folder / "images", "--runroot", folder / "run"


def inspect(config, root):
    files = {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if not path.is_dir()}
    if set(files) != {"opt/rds-ca.pem", "runcast-server"}:
        raise Failed(f"the image holds {sorted(files)}")
    # CI builds with less optimization: its size is not that of a release.
    if files["runcast-server"] > MOST_BYTES and "CARGO_PROFILE_RELEASE_LTO" not in os.environ:
        raise Failed(f"the server has {files['runcast-server']} bytes")
    wanted = {"User": "65532:65532", "Entrypoint": ["/runcast-server"], "ExposedPorts": {"8080/tcp": {}}, "StopSignal": "SIGTERM"}
    if {key: config.get(key) for key in wanted} != wanted:
        raise Failed(f"the image says {config}")
    print(f"  two files, {files['runcast-server'] / 1e6:.1f} MB of it the server; {config['User']}, {config['StopSignal']}")


def serve(config, root, folder):
    port = free_port()
    with started(str(CHECKOUT / "target/debug/runcast"), "up", "--port", "0", log=folder / "up.log", stdout=subprocess.PIPE) as up:
        servers = json.loads(up.stdout.readline())
        # By name, as cache and database are named: /etc/hosts and DNS are the C library's business, which is in the binary.
        named = {key: servers[key].replace("127.0.0.1", "localhost") for key in ("redisUrl", "databaseUrl")}
        environment = {
            "PATH": os.environ["PATH"], "LISTEN": f"127.0.0.1:{port}", "SHUTDOWN_GRACE_SECONDS": "2",
            "REDIS_URL": named["redisUrl"], "DATABASE_URL": named["databaseUrl"],
            "AUTH_JWKS": JWKS, "AUTH_ISSUER": "runcast-local", "AUTH_AUDIENCE": "runcast",
        }  # fmt: skip
        start = ("unshare", "--mount", "bash", "-euc", START, "start", root, config["User"], *config["Entrypoint"])
        log = folder / "server.log"
        with started(*start, log=log, stdout=subprocess.DEVNULL, env=environment) as server:
            try:
                life(f"http://127.0.0.1:{port}", server)
            except Exception:
                print(log.read_text()[-3000:], file=sys.stderr)
                raise


def life(url, server):
    def is_ready():
        if server.poll() is not None:
            raise Failed(f"the server ends with {server.returncode}")
        try:
            return get(f"{url}/ready")[0] == 200
        except OSError:
            return False

    eventually("the server is ready", is_ready)
    for number, status in enumerate(("running", "passed")):
        update = {"eventId": f"e{number}", "kind": "job", "id": "contained", "projectId": "demo", "status": status}
        status, _, said = post(f"{url}/api/updates", json.dumps({"updates": [update]}).encode())
        if status != 200 or json.loads(said)["accepted"] != 1:
            raise Failed(f"the server answers {status} {said}")
    _, _, said = get(f"{url}/api/job-status/events/contained?lastEventId=0")
    seen = re.findall(r'"status":"(\w+)"', said)
    if seen != ["running", "passed"]:
        raise Failed(f"the stream says {said}")
    # A stream on which nothing happens, until the server is asked to end.
    request = urllib.request.Request(f"{url}/api/job-status/events/nobody", headers={"X-Auth-Token": TOKEN})
    with urllib.request.urlopen(request, timeout=60) as stream:
        stream.readline()
        ends = []
        reader = threading.Thread(target=lambda: ends.append(stream.read().decode()))
        reader.start()
        server.send_signal(signal.SIGTERM)
        if server.wait(30) != 0:
            raise Failed(f"after SIGTERM the server ends with {server.returncode}")
        reader.join()
    if '{"reason":"rotate"}' not in ends[0]:
        raise Failed(f"after SIGTERM the stream ends with {ends[0]!r}")
    print("  taken, committed, streamed; after SIGTERM the stream rotates, and it exits with 0")


def main():
    if not shutil.which("buildah"):
        sys.exit("on Debian and Ubuntu: apt-get install buildah")
    # Who is not root becomes so, in a namespace, to mount what is built.
    if os.geteuid() != 0:
        os.execvp("buildah", ["buildah", "unshare", sys.executable, *sys.argv])
    try:
        with tempfile.TemporaryDirectory(prefix="runcast-container-") as folder:
            folder = Path(folder)
            config, root = build(folder)
            inspect(config, root)
            serve(config, root, folder)
    except Failed as failed:
        sys.exit(str(failed))


if __name__ == "__main__":
    main()
