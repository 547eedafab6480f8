#!/bin/sh
# Builds baetyl on a bare machine. `./build.sh --help` says how.
set -eu

usage()
{
    cat <<'EOF'
usage: ./build.sh [run|test] [--target T] [--debug] [--jobs N] [--help]

  (nothing)     install missing build packages, fetch third-party sources, build
  run           build if needed, then run the example in example/pipeline
  test          install what the tests need, then run every test

  --target T    x86_64-linux-musl, aarch64-linux-musl, armv7-linux-musleabihf: static executables;
                host: an ordinary one with the compiler of this machine.
                Default: the static target of this machine; host on Darwin
  --debug       no optimisation, debug information, in a build folder of its own
  --jobs N      compile N files at once (default: the number of processors)

The executable is build/<target>/baetyl. Sources come from a cache ($XDG_CACHE_HOME/baetyl or
~/.cache/baetyl), upstream or the Debian pool, and must have the hashes in third_party/manifest.tsv.
EOF
}

start=$(date +%s)
cd "$(dirname "$0")"

die()
{
    echo "build.sh: $*" >&2
    exit 1
}

step_now=0
step_all=4
step()
{
    step_now=$((step_now + 1))
    printf '[%d/%d %3ds] %s\n' $step_now $step_all $(($(date +%s) - start)) "$*"
}

command=build
target=
debug=
jobs=
while [ $# -gt 0 ]; do
    case $1 in
    run | test) command=$1 ;;
    --target) target=${2:-} && [ $# -gt 1 ] && shift || die "--target needs a name, see --help" ;;
    --target=*) target=${1#*=} ;;
    --debug) debug=1 ;;
    --jobs) jobs=${2:-} && [ $# -gt 1 ] && shift || die "--jobs needs a number, see --help" ;;
    --jobs=*) jobs=${1#*=} ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
    esac
    shift
done

system=$(uname -s)
machine=$(uname -m)
if [ -z "$target" ]; then
    case $system-$machine in
    Linux-x86_64) target=x86_64-linux-musl ;;
    Linux-aarch64) target=aarch64-linux-musl ;;
    Linux-armv7*) target=armv7-linux-musleabihf ;;
    *) target=host ;;
    esac
fi
case $target in
x86_64-linux-musl | aarch64-linux-musl | armv7-linux-musleabihf)
    [ "$system" = Linux ] || die "$target can be built on Linux only" ;;
host) ;;
*) die "no target '$target', see --help" ;;
esac
if [ -z "$jobs" ]; then
    jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
fi
case $jobs in
'' | *[!0-9]* | 0) die "--jobs: '$jobs' is not a number of jobs" ;;
esac

folder=build/$target${debug:+-debug}
program=$folder/baetyl
build()
{
    make -s -j"$jobs" TARGET="$target" DEBUG="$debug" "$@"
}

# Packages. `tool:package` is missing when the tool is not in the path, `/file:package` when there
# is no such file.
missing()
{
    for pair; do
        what=${pair%%:*}
        case $what in
        /*) [ -e "$what" ] || echo "${pair#*:}" ;;
        *) command -v "$what" >/dev/null 2>&1 || echo "${pair#*:}" ;;
        esac
    done | sort -u | tr '\n' ' '
}

build_packages()
{
    missing make:make gcc:gcc ar:binutils xz:xz-utils bzip2:bzip2 unzip:unzip curl:curl \
        /etc/ssl/certs/ca-certificates.crt:ca-certificates \
        /usr/include/stdio.h:libc6-dev /usr/include/linux/version.h:linux-libc-dev
    case $target-$machine in
    aarch64-linux-musl-aarch64 | x86_64-linux-musl-x86_64 | armv7-*-armv7*) ;;
    aarch64-*) missing aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu \
        /usr/aarch64-linux-gnu/include/linux/version.h:linux-libc-dev-arm64-cross ;;
    armv7-*) missing arm-linux-gnueabihf-gcc:gcc-arm-linux-gnueabihf \
        /usr/arm-linux-gnueabihf/include/linux/version.h:linux-libc-dev-armhf-cross ;;
    x86_64-*) missing x86_64-linux-gnu-gcc:gcc-x86-64-linux-gnu \
        /usr/x86_64-linux-gnu/include/linux/version.h:linux-libc-dev-amd64-cross ;;
    esac
}

# What the tests need beside the compiler. Those of the second list are taken where they exist: a
# test that misses one of them says so and is skipped.
test_packages()
{
    missing mosquitto_pub:mosquitto-clients /usr/sbin/mosquitto:mosquitto python3:python3 \
        node:nodejs file:file strace:strace git:git ps:procps openssl:openssl
    python3 -c 'import ensurepip, venv' 2>/dev/null || printf 'python3-venv '
}

wanted_packages()
{
    missing clang:clang clang-format:clang-format qemu-aarch64-static:qemu-user-static \
        aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu \
        /usr/aarch64-linux-gnu/include/linux/version.h:linux-libc-dev-arm64-cross \
        arm-linux-gnueabihf-gcc:gcc-arm-linux-gnueabihf \
        /usr/arm-linux-gnueabihf/include/linux/version.h:linux-libc-dev-armhf-cross \
        qemu-system-x86_64:qemu-system-x86 gdb:gdb python2.7:python2.7 npm:npm chromium:chromium \
        /usr/include/MQTTClient.h:libpaho-mqtt-dev
    python3 -c 'import paho.mqtt.client' 2>/dev/null || printf 'python3-paho-mqtt '
    # libFuzzer and the sanitizers of clang are in a package that carries its version.
    if command -v clang >/dev/null; then
        [ -e "$(clang -print-runtime-dir 2>/dev/null)" ] ||
            clang --version | sed -n 's/.*clang version \([0-9]*\).*/libclang-rt-\1-dev /p'
    else
        apt-cache depends clang 2>/dev/null |
            sed -n 's/.*Depends: clang-\([0-9]*\)$/libclang-rt-\1-dev /p'
    fi | tr -d '\n'
}

root=
find_root()
{
    if [ "$(id -u)" = 0 ]; then
        return 0
    fi
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        root=sudo
        return 0
    fi
    return 1
}

apt_install()
{
    $root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" </dev/null >>build/apt.log 2>&1
}

# need PACKAGE...: installs them, or stops and says how a person can.
need()
{
    command -v apt-get >/dev/null ||
        die "these packages are missing, and there is no apt-get to install them: $*"
    find_root || die "these packages are missing: $*
Install them with this command, then start again:
    sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
    echo "  installing $*"
    mkdir -p build
    if ! $root apt-get update -qq </dev/null >build/apt.log 2>&1 || ! apt_install "$@"; then
        tail -n 15 build/apt.log >&2
        die "the packages cannot be installed: $*"
    fi
}

# want PACKAGE...: installs what this release has of them.
want()
{
    command -v apt-get >/dev/null && find_root || { echo "  not installed: $*" && return 0; }
    have=
    for package; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            have="$have $package"
        else
            echo "  not to be had here: $package"
        fi
    done
    [ -z "$have" ] || echo "  installing$have"
    # shellcheck disable=SC2086
    [ -z "$have" ] || apt_install $have || echo "  could not be installed, see build/apt.log:$have"
}

check_packages()
{
    if [ "$system" = Darwin ]; then
        xcode-select -p >/dev/null 2>&1 || die "the compiler is missing: xcode-select --install"
        command -v xz >/dev/null || brew install xz || die "xz is missing, and Homebrew cannot install it"
        return 0
    fi
    packages=$(build_packages)
    if [ -n "$packages" ]; then
        # shellcheck disable=SC2086
        need $packages
        left=$(build_packages)
        [ -z "$left" ] || die "still missing after the installation: $left"
    fi
}

# Cheap, and true only when no source, header, flag or rule is newer than the executable.
up_to_date()
{
    [ -x "$program" ] && command -v make >/dev/null && [ -f build/src/fetched"$musl".mk ] &&
        build -q all >/dev/null 2>&1
}

build_all()
{
    musl=
    case $target in *musl*) musl=-musl ;; esac
    if up_to_date; then
        echo "$program is up to date, nothing to do"
        return 0
    fi
    step "build packages"
    check_packages
    step "third-party sources: fetch and verify"
    build build/src/fetched"$musl".mk
    step "third-party libraries for $target"
    mkdir -p "$folder"
    build third_party >"$folder/third_party.log" 2>&1 ||
        { tail -n 30 "$folder/third_party.log" >&2 && die "the third-party build failed"; }
    step "baetyl for $target"
    build all licenses >"$folder/build.log" 2>&1 || { cat "$folder/build.log" >&2 && die "the build failed"; }
    printf '[done %3ds]\n' $(($(date +%s) - start))
}

describe()
{
    size=$(wc -c <"$program")
    kind=dynamic
    case $target in *musl*) kind=static ;; esac
    echo
    echo "  $program  $(echo "$size" | awk '{ printf "%.2f MB", $1 / 1000000 }') ($((size)) bytes), $kind"
    echo
    echo "Next:"
    echo "  ./build.sh run               the example: sensors -> SQL -> Python -> alerts"
    echo "  $program help"
}

# What the example's functions run on.
example_packages()
{
    missing python3:python3 node:nodejs
}

# Sensors and a listener in the background: both wait for the hub, and end with it.
sensors_and_alerts()
{
    trap '' INT
    until "$program" pub --quiet -t example/started -m 1 2>/dev/null; do
        kill -0 $$ 2>/dev/null || return 0
        sleep 0.2
    done
    "$program" sub --quiet -t sensors/average -t alerts -v &
    python3 example/pipeline/sensors.py | "$program" pub --quiet -t sensors/raw -l -q 1
}

run_example()
{
    packages=$(example_packages)
    # shellcheck disable=SC2086
    [ -z "$packages" ] || [ "$system" = Darwin ] || need $packages
    work=build/example
    rm -rf "$work"
    mkdir -p "$work"
    cp -R example/. "$work/"
    echo
    echo "The pipeline of example/pipeline runs: a sensor simulator -> SQL filter -> Python average -> SQL alert. Below come"
    echo "the averages, and alerts when the boiler overheats. Paste these into a second terminal, in this folder:"
    echo
    echo "  $program sub -t 't/#' -v &"
    echo "  $program pub -t t -m '{\"id\":1}'            # goes through Python and Node"
    echo "  mosquitto_pub -p 1883 -t t -m '{\"id\":1}'     # the same with mosquitto"
    echo
    echo "Ctrl-C stops it."
    echo
    sensors_and_alerts &
    # exec: signals reach baetyl itself, and its exit code is ours.
    exec "$program" start -w "$work" -c pipeline/baetyl.yml
}

case $command in
build)
    build_all
    describe
    ;;
run)
    build_all
    run_example
    ;;
test)
    step_all=5
    build_all
    step_now=4
    step "test packages"
    if [ "$system" = Linux ]; then
        packages=$(test_packages)
        # shellcheck disable=SC2086
        [ -z "$packages" ] || need $packages
        packages=$(wanted_packages)
        # shellcheck disable=SC2086
        [ -z "$packages" ] || want $packages
    fi
    exec tests/run_all.sh
    ;;
esac
