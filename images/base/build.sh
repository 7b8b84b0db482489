#!/bin/sh
# Build the base image from Debian packages, without a registry, and hand it to the Docker engine.
#
#   IMAGE=auscat-imaging/base:test SUITE=trixie PACKAGES=ca-certificates,tzdata sh build.sh
#
# IMAGE            name and tag of the image
# SUITE            Debian release, e.g. trixie
# PACKAGES         packages beyond the minimal system, separated by commas
# MIRROR           Debian mirror; empty or unset: the one that mmdebstrap chooses
# SECURITY_MIRROR  mirror of the security updates; empty or unset: <MIRROR>-security
# http_proxy       honoured by apt
#
# Needs root, mmdebstrap, debian-archive-keyring and a running Docker engine, and below TMPDIR
# about 600 MB on a filesystem that is mounted neither noexec nor nodev.
set -eu

: "${IMAGE:?}" "${SUITE:?}" "${PACKAGES:?}"
MIRROR="${MIRROR:-}"
SECURITY_MIRROR="${SECURITY_MIRROR:-}"

# A narrow umask of the administrator must not reach the image, whose services are not root.
umask 022

here=$(cd "$(dirname "$0")" && pwd)
workspace=$(mktemp -d "${TMPDIR:-/var/tmp}/auscat-imaging-base.XXXXXX")
chmod 0711 "$workspace" # apt downloads as a user of its own
trap 'rm -rf "$workspace"' EXIT
trap 'exit 1' HUP INT TERM

# Given no mirror, mmdebstrap adds the updates and the security suite of a stable release itself.
set --
if [ -n "$MIRROR" ]; then
    set -- \
        "deb $MIRROR $SUITE main" \
        "deb $MIRROR $SUITE-updates main" \
        "deb ${SECURITY_MIRROR:-${MIRROR%/}-security} $SUITE-security main"
fi

# dpkg.conf and apt.conf stay in the image, so that they also hold for what the other images
# install. They are put there at the end and what they leave out is removed by hand: told to
# mmdebstrap, they would be applied by a slow filter, which costs a third more time (measured).
# policy-rc.d stays too; mmdebstrap would remove it with the one that it makes for itself.
# No program may make its user another one: no service needs su, mount or passwd.
# The archive goes to a file first: a pipe would let Docker import half an image when this fails.
TMPDIR="$workspace" mmdebstrap \
    --variant=minbase \
    --include="$PACKAGES" \
    --dpkgopt=force-unsafe-io \
    --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Languages "none"' \
    --aptopt='Acquire::Retries "3"' \
    --customize-hook="upload '$here/dpkg.conf' /etc/dpkg/dpkg.cfg.d/auscat-imaging" \
    --customize-hook="upload '$here/apt.conf' /etc/apt/apt.conf.d/99auscat-imaging" \
    --skip=chroot/policy-rc.d \
    --customize-hook="upload '$here/policy-rc.d' /usr/sbin/policy-rc.d" \
    --customize-hook='chmod 0755 "$1/usr/sbin/policy-rc.d"' \
    --customize-hook='cd "$1/usr/share" && rm -rf man/* info/* groff/* lintian/*' \
    --customize-hook='cd "$1/usr/share" && find locale -mindepth 1 -maxdepth 1 -type d -exec rm -r {} +' \
    --customize-hook='cd "$1/usr/share" && find doc -not -type d -not -name copyright -delete' \
    --customize-hook='find "$1" -xdev -type f -perm /6000 -exec chmod a-s {} +' \
    --customize-hook='cd "$1/var" \
        && rm -rf cache/apt/*.bin cache/debconf/*-old lib/dpkg/*-old log/*' \
    "$SUITE" "$workspace/base.tar" "$@"

docker import \
    --change 'ENV LANG=C.UTF-8' \
    --change 'CMD ["/bin/bash"]' \
    "$workspace/base.tar" "$IMAGE"
