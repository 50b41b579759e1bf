# Shared by the scripts beside it; meant to be sourced.

# Downloads and tools that outlive a clone.
CACHE=${FACERING_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/facering}
mkdir -p "$CACHE"

step() { printf '==> %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
need_command() { command -v "$1" >/dev/null 2>&1 || fail "$1 is missing: $2"; }

# Installs the Debian packages that are missing, or says which command would.
need_packages() {
    local missing=()
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        fail "Debian packages are missing; install them with: sudo apt-get install -y ${missing[*]}"
    fi
    step "Debian packages: ${missing[*]}"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        fail "apt-get could not install ${missing[*]}: see its message above"
}
