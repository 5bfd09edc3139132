#!/usr/bin/env bash
# Says clearly which of the things that this project (with `tests`: and its tests) cannot install itself is missing.
set -euo pipefail
missing=0
lacks() {
    echo "runcast needs $1: $2" >&2
    missing=1
}
command -v cargo >/dev/null || lacks "Rust 1.95" "install it from https://rustup.rs"
command -v cc >/dev/null || lacks "a C compiler" "on Debian and Ubuntu: apt-get install build-essential"
command -v npm >/dev/null && node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major > 20 || (major == 20 && minor >= 19) ? 0 : 1)' 2>/dev/null \
    || lacks "Node 20.19 or newer, with npm" "install it from https://nodejs.org"
command -v python3 >/dev/null && python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null \
    || lacks "Python 3.9 or newer" "install it from https://www.python.org or your system's packages"
python3 -c 'import venv, ensurepip' 2>/dev/null \
    || lacks "Python's venv" "on Debian and Ubuntu: apt-get install python3-venv"
if [ "${1-}" = tests ]; then
    command -v "${CHROMIUM:-chromium}" >/dev/null \
        || lacks "Chromium, for its tests" "on Debian and Ubuntu: apt-get install chromium; or name one with CHROMIUM="
    command -v "${FIREFOX:-firefox-esr}" >/dev/null \
        || lacks "Firefox, for its tests" "on Debian: apt-get install firefox-esr; or name one with FIREFOX="
    command -v redis-server >/dev/null \
        || lacks "a redis-server, for its tests of TLS" "on Debian and Ubuntu: apt-get install redis-server"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
        || lacks "Python 3.10 or newer, for its tests" "install it from https://www.python.org"
fi
exit "$missing"
