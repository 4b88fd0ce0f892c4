#!/usr/bin/env bash
# Makes this checkout ready to run: system packages, npm packages, build. Safe to repeat; quick when there
# is nothing to do. Installs packages only on a plain apt system, and says what is missing elsewhere.
#
#   setup.sh [--quiet] [--test] [--vm] [--bench]
#     --test   also what the tests need (the docker client and engine, a registry, curl, ping)
#     --vm     also what the virtual machine tests need (QEMU)
#     --bench  also the peers that benchmarks compare with
set -euo pipefail
cd "$(dirname "$0")/../.."

quiet= extra=()
for flag in "$@"; do
  case $flag in
    --quiet) quiet=1 ;;
    --test)
      command -v docker >/dev/null || extra+=(docker-cli)
      # An engine of Docker's, which answers are compared with.
      extra+=(docker.io curl iputils-ping docker-registry python3-docker docker-compose tmux)
      ;;
    --vm) extra+=(qemu-system-x86 qemu-utils mmdebstrap e2fsprogs) ;;
    --bench) extra+=(docker.io containerd runc crun iperf3 curl) ;;
    *) echo "setup.sh: unknown option $flag" >&2; exit 2 ;;
  esac
done
say() { [ -n "$quiet" ] || echo "setup: $*"; }
die() { echo "setup: $*" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || die "Tessera runs on Linux"
[ "$(id -u)" = 0 ] || die "root is needed for namespaces, cgroups and overlayfs: run it with sudo"
command -v node >/dev/null || die "Node.js 20 or later is needed: https://nodejs.org, or apt-get install nodejs npm on Debian 13"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || die "Node.js 20 or later is needed, this is $(node --version)"

# Two set-ups at once would tear each other's build apart.
mkdir -p .cache
exec 9>.cache/setup.lock
flock 9

packages=(
  gcc make libc6-dev linux-libc-dev musl-tools # the runtime core's compilers
  libarchive-dev libzstd-dev zlib1g-dev nettle-dev # reading image layers
  libnftables1 libseccomp2                     # opened at run time
  etcd-server busybox-static iproute2 util-linux procps
  "${extra[@]}"
)
installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

missing=()
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
  for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
else
  die "this is no apt system; install the equivalents of: ${packages[*]}"
fi

if [ ${#missing[@]} -gt 0 ]; then
  say "installing ${missing[*]}"
  # Debian 12 has the docker client only inside docker.io.
  apt_has() { apt-cache show "$1" >/dev/null 2>&1; }
  export DEBIAN_FRONTEND=noninteractive
  log=.cache/apt.log
  apt-get update >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get update failed"; }
  for i in "${!missing[@]}"; do
    if [ "${missing[$i]}" = docker-cli ] && ! apt_has docker-cli; then missing[i]=docker.io; fi
  done
  # The packages' own services must not start: Tessera runs its own etcd, and no dockerd.
  policy=/usr/sbin/policy-rc.d guarded=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"; guarded=1
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1 ||
    { tail -n 20 "$log" >&2; die "apt-get install failed; the whole log is $log"; }
  if [ -n "$guarded" ]; then rm -f "$policy"; trap - EXIT; fi
  if [ -d /run/systemd/system ]; then
    for package in "${missing[@]}"; do
      case $package in
        etcd-server) systemctl disable --now etcd.service >/dev/null 2>&1 || true ;;
        docker-registry) systemctl disable --now docker-registry.service >/dev/null 2>&1 || true ;;
        docker.io) systemctl disable --now docker.socket docker.service containerd.service >/dev/null 2>&1 || true ;;
      esac
    done
  fi
fi

# npm writes node_modules/.package-lock.json last, so a broken install is seen and repeated.
stamp=$(cat package-lock.json package.json ./*/package.json | sha256sum | cut -d' ' -f1)
if [ ! -e node_modules/.package-lock.json ] || [ "$(cat .cache/npm.stamp 2>/dev/null)" != "$stamp" ]; then
  say "installing npm packages"
  npm ci --no-audit --no-fund --loglevel=error >.cache/npm.log 2>&1 || { tail -n 20 .cache/npm.log >&2; die "npm ci failed"; }
  echo "$stamp" >.cache/npm.stamp
fi

say "building"
npm run --silent build >.cache/build.log 2>&1 || { cat .cache/build.log >&2; die "the build failed"; }
say "ready"
