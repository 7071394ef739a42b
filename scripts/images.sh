#!/usr/bin/env bash
# Builds both container images with buildah and tries them, without a container daemon and without a registry.
#
#   scripts/images.sh [--optional] [--fresh] [--binaries DIR] [--save DIR]
#
# --optional      exit status 0, with the reason, where it cannot run (not root, not Debian, no mirror, programs not built)
# --fresh         make the base anew; else the one in target/images is used, which has the security fixes of its day
# --binaries DIR  where consort-coordinator and consort-participant are, default target/release
# --save DIR      also write DIR/consort-coordinator.tar and DIR/consort-participant.tar, for `docker load` or `podman load`
#
# The base is made with debootstrap from the Debian mirror that this machine's apt is configured with. Images are built in
# a temporary folder that is removed. Needs root: debootstrap and buildah's chroot isolation change root.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROLES='coordinator participant'
# Those of the Dockerfiles.
readonly USER_ID=10001

main() {
    optional=no fresh=no save='' binaries=target/release
    while [ $# -gt 0 ]; do
        case "$1" in
        --optional) optional=yes ;;
        --fresh) fresh=yes ;;
        --binaries | --save)
            [ $# -gt 1 ] || usage "$1 needs a folder"
            if [ "$1" = --save ]; then save=$2; else binaries=$2; fi
            shift
            ;;
        *) usage "unknown option $1" ;;
        esac
        shift
    done
    [ "$(id -u)" = 0 ] || cannot 'it must be run by root'
    command -v apt-get >/dev/null || cannot 'apt-get is not here: this is not Debian'
    for role in $ROLES; do
        [ -x "$binaries/consort-$role" ] ||
            cannot "$binaries/consort-$role is not built; cargo build --release -p consort-$role builds it"
    done

    work=$(mktemp -d)
    trap clean EXIT
    install_tools
    base
    for role in $ROLES; do
        build "$role"
        try "$role"
    done
}

usage() {
    echo "images.sh: $1; see the head of scripts/images.sh" >&2
    exit 2
}

cannot() {
    echo "images.sh cannot run: $1" >&2
    [ "$optional" = yes ] && exit 0
    exit 1
}

# What is still mounted in the folder is unmounted before anything is removed.
clean() {
    awk -v under="$work/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
        while read -r mount; do umount -l "$mount"; done
    rm -rf --one-file-system "$work"
}

install_tools() {
    local missing=() tool
    for tool in buildah debootstrap; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} = 0 ] && return
    echo "installing ${missing[*]}"
    if ! apt-get -qq update >"$work/apt.log" 2>&1 ||
        ! DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}" \
            >>"$work/apt.log" 2>&1; then
        tail -n 5 "$work/apt.log" >&2
        cannot "apt-get cannot install ${missing[*]}"
    fi
}

# A minimal Debian with today's security fixes, without documentation, package lists or sources.
base() {
    local codename tar tree=$work/tree
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    tar=target/images/base-$codename-$(dpkg --print-architecture).tar
    if [ "$fresh" = no ] && [ -s "$tar" ]; then
        echo "base: $tar of $(date -u -r "$tar" +%F)"
    else
        mirrors "$codename" >"$work/sources"
        grep -q . "$work/sources" || cannot "apt knows no Debian mirror of $codename; apt-get update first"
        echo "base: debootstrap of $codename"
        debootstrap --variant=minbase "$codename" "$tree" "$(awk '$2 == c { print $1; exit }' c="$codename" \
            "$work/sources")" >"$work/debootstrap.log" 2>&1 || {
            tail -n 5 "$work/debootstrap.log" >&2
            cannot 'debootstrap failed; is the mirror reachable?'
        }
        fix "$tree"
        mkdir -p target/images
        tar -C "$tree" --numeric-owner --sort=name --one-file-system -cf "$tar.new" .
        mv "$tar.new" "$tar"
        rm -rf --one-file-system "$tree"
    fi
    local container
    container=$(buildah_ from scratch)
    # By its absolute name, which also keeps buildah from reading a relative one as an address.
    buildah_ add --quiet "$container" "$PWD/$tar" / >/dev/null
    buildah_ commit --quiet --timestamp 0 --format oci "$container" localhost/consort-base >/dev/null
    buildah_ rm "$container" >/dev/null
}

# `URI RELEASE` of every Debian archive that apt is configured with for this codename, the release itself first.
mirrors() {
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v c="$1" '$1 == "Debian" && $4 == "main" && index($3, c) == 1 { print $2, $3 }' |
        sort -u -k 2,2
}

# Security fixes, then everything out that no program needs at run time.
fix() {
    local tree=$1
    awk '{ print "deb", $1, $2, "main" }' "$work/sources" >"$tree/etc/apt/sources.list"
    # No service may start in the tree.
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
    chmod 755 "$tree/usr/sbin/policy-rc.d"
    if ! chroot "$tree" sh -ec 'apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq upgrade' \
        >"$work/upgrade.log" 2>&1; then
        tail -n 5 "$work/upgrade.log" >&2
        cannot 'the base cannot be brought up to date'
    fi
    chroot "$tree" apt-get clean
    rm -rf "$tree"/usr/share/{doc,man,info,locale}/* "$tree"/var/lib/apt/lists/* "$tree"/var/log/* \
        "$tree"/var/cache/{apt,debconf,ldconfig}/* "$tree"/tmp/*
    rm -f "$tree"/usr/sbin/policy-rc.d "$tree"/etc/{hostname,resolv.conf,machine-id} "$tree"/var/lib/dbus/machine-id \
        "$tree"/etc/{passwd,group,shadow,gshadow}-
    : >"$tree/etc/apt/sources.list"
}

# From a context that holds the program and nothing else. Without dates, and in OCI format, which unlike Docker's names no build
# container, the same input gives the same image.
build() {
    local role=$1 context=$work/context-$1
    mkdir "$context"
    cp "$binaries/consort-$role" "$context/"
    buildah_ build --isolation chroot --pull-never --timestamp 0 --format oci --build-arg BASE=localhost/consort-base \
        --file "docker/$role.Dockerfile" --tag "localhost/consort-$role" "$context" >"$work/build.log" 2>&1 || {
        cat "$work/build.log" >&2
        exit 1
    }
    if [ -n "$save" ]; then
        mkdir -p "$save"
        rm -f "$save/consort-$role.tar"
        buildah_ push --quiet "localhost/consort-$role" \
            "docker-archive:$save/consort-$role.tar:localhost/consort-$role:latest"
    fi
}

# The program answers, is run by a user that is not root, and can write its state and nothing else.
try() {
    local role=$1 container image
    image=localhost/consort-$role
    container=$(buildah_ from --pull-never "$image")
    version=$(inside "$container" "consort-$role" --version)
    inside "$container" "consort-$role" --help >"$work/help"
    [ -s "$work/help" ] || fail "$role: --help says nothing"
    [ "$(inside "$container" id -u)" = "$USER_ID" ] || fail "$role: the user is not $USER_ID"
    [ "$(config "$image" User)" = "$USER_ID:$USER_ID" ] || fail "$role: the image's user is not $USER_ID"
    config "$image" Entrypoint | grep -q "/consort-$role serve --config /etc/consort/config.toml" ||
        fail "$role: the entry point is $(config "$image" Entrypoint)"
    inside "$container" sh -ec 'touch state/probe key/probe; rm state/probe key/probe' || fail "$role: no state can be written"
    # Folders it may not read it cannot write in either; find says so and fails.
    writable=$(inside "$container" find / -xdev -writable -not -type l -not -path '/var/lib/consort*' \
        -not -path /tmp -not -path /var/tmp -not -path /run/lock 2>/dev/null || true)
    [ -z "$writable" ] || fail "$role: its user can write $writable"
    setuid=$(inside "$container" find / -xdev -type f -perm /6000 2>/dev/null || true)
    [ -z "$setuid" ] || fail "$role: set-uid programs: $setuid"
    buildah_ rm "$container" >/dev/null
    echo "$image: $(head -n 1 <<<"$version"), image $(buildah_ images --no-trunc --format '{{.ID}} {{.Size}}' "$image")"
}

inside() {
    local container=$1
    shift
    buildah_ run --isolation chroot "$container" -- "$@"
}

config() {
    buildah_ inspect --type image --format "{{.OCIv1.Config.$2}}" "$1"
}

fail() {
    echo "images.sh: $1" >&2
    exit 1
}

buildah_() {
    buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"
}

main "$@"
