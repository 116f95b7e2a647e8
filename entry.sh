#!/bin/sh
# What the image runs first: it finds the partitions and services of the host, then becomes the supervisor.
# Each step accepts what an earlier start of the same container left. docs/image.md has the steps in words.
set -o errexit -o nounset

# A variable is unset, too, when it is empty or says so.
for name in ROOT_MOUNTPOINT BOOT_MOUNTPOINT STATE_MOUNTPOINT DATA_MOUNTPOINT CONFIG_MOUNT_POINT APPS_JSON_PATH \
	DATABASE_PATH DBUS_SYSTEM_BUS_ADDRESS DOCKER_ROOT BALENA_ROOT_CA; do
	value=""
	eval "value=\${$name:-}"
	case $value in '' | null | undefined) unset "$name" ;; esac
done
root=${ROOT_MOUNTPOINT:-/mnt/root}
export ROOT_MOUNTPOINT="$root"
export DBUS_SYSTEM_BUS_ADDRESS="${DBUS_SYSTEM_BUS_ADDRESS:-unix:path=$root/run/dbus/system_bus_socket}"

say() {
	printf '[info]    entry: %s\n' "$*"
}

fail() {
	printf '[error]   entry: %s\n' "$*" >&2
	exit 1
}

# A link, unless something is there already; an old link counts, wherever it leads.
link() {
	if [ ! -e "$2" ] && [ ! -L "$2" ]; then
		mkdir -p "$(dirname "$2")"
		ln -s "$1" "$2"
	fi
}

# ---- partitions ----

# Whether the system bus is a socket file that is not there.
has_no_bus() {
	socket=${DBUS_SYSTEM_BUS_ADDRESS#unix:path=}
	socket=${socket%%[,;]*}
	[ "${socket#/}" != "$socket" ] && [ ! -S "$socket" ]
}

# Why the host has no partitions to mount, or nothing when they are to be looked for.
why_no_partitions() {
	if [ "${TEST:-}" = 1 ]; then
		echo "this is a test"
	elif mountpoint -q /mnt/boot && mountpoint -q /mnt/state && mountpoint -q /mnt/data; then
		echo "the caller has mounted them"
	elif [ ! -d "$root/run/systemd/system" ]; then
		echo "the host does not run systemd"
	elif has_no_bus; then
		echo "the host has no D-Bus"
	fi
}

# The device that systemd of the host mounts: "boot" -> /dev/mmcblk0p1. Nothing when it has no such mount.
mount_source() {
	answer=$(dbus-send --bus="$DBUS_SYSTEM_BUS_ADDRESS" --print-reply=literal --reply-timeout=20000 \
		--dest=org.freedesktop.systemd1 "/org/freedesktop/systemd1/unit/mnt_2d$1_2emount" \
		org.freedesktop.DBus.Properties.Get string:org.freedesktop.systemd1.Mount string:What 2>&1) || case $answer in
	*DBus.Error.AccessDenied* | *DBus.Error.Unknown* | *systemd1.NoSuchUnit*) answer="" ;;
	*) fail "cannot ask systemd of the host for mnt-$1.mount: $answer" ;;
	esac
	echo "$answer" | awk '$1 == "variant" && $2 ~ "^/dev/" { print $2 }'
}

# The device itself: links such as /dev/disk/by-label/x are on the host only.
real_device() {
	found=$(readlink -f "$1") && [ -e "$found" ] || found=$(readlink -f "$root$1") || found=$1
	echo "${found#"$root"}"
}

# What stands on a device, read from it: lsblk would ask udev, which is on the host only.
tag_of() {
	blkid -p -o value -s "$2" "$1" || :
}

# Whether it lies on an encrypted partition, and so does not tell the disk.
is_encrypted() {
	[ "$(lsblk -ndo TYPE "$1")" = crypt ] || [ "$(tag_of "$1" TYPE)" = crypto_LUKS ]
}

# The device of the boot partition, or of what was booted from when that is encrypted.
boot_device() {
	device=$(mount_source boot)
	[ -n "$device" ] || return 0
	device=$(real_device "$device")
	if is_encrypted "$device"; then
		for name in efi rpi imx; do
			device=$(mount_source "$name")
			[ -z "$device" ] || break
		done
		[ -n "$device" ] || fail "the boot partition is encrypted, and none of mnt-efi, mnt-rpi, mnt-imx tells the disk"
		device=$(real_device "$device")
	fi
	echo "$device"
}

# The partition "boot" of a disk, by the label of its file system, else by its own.
partition() {
	for label in LABEL PART_ENTRY_NAME; do
		for device in $(lsblk -nrpo NAME "$1"); do
			case $(tag_of "$device" "$label") in "resin-$2" | "balena-$2") break 2 ;; esac
		done
		device=""
	done
	[ -n "$device" ] || fail "no partition resin-$2 or balena-$2 on $1"
	opened=$(lsblk -nrpo NAME,TYPE "$device" | awk '$2 == "crypt" { print $1; exit }')
	if [ -n "$opened" ]; then
		dmsetup resume "$opened" >&2
		device=$opened
	fi
	echo "$device"
}

mount_partition() {
	device=$(partition "$1" "$2")
	mkdir -p "/mnt/$2"
	if ! findmnt -nro SOURCE --mountpoint "/mnt/$2" | grep -qxF "$device"; then
		mount -t "$(tag_of "$device" TYPE)" "$device" "/mnt/$2" || fail "cannot mount $device on /mnt/$2"
	fi
}

mount_partitions() {
	disk=$(lsblk -no PKNAME "$1" | head -n 1)
	[ -n "$disk" ] || fail "cannot find the disk of the boot partition $1"
	for name in boot state data; do
		mount_partition "/dev/$disk" "$name"
	done
	export BOOT_MOUNTPOINT=/mnt/boot STATE_MOUNTPOINT=/mnt/state DATA_MOUNTPOINT=/mnt/data
	export HOST_OS_VERSION_PATH="$root/etc/os-release"
	export CONFIG_MOUNT_POINT=/mnt/boot/config.json DATABASE_PATH=/data/database.sqlite
	if [ ! -e /data/database.sqlite ] && [ ! -e /data/database.sqlite.new ]; then
		mkdir -p /mnt/data/resin-data/balena-supervisor /data
		mount --bind --make-shared /mnt/data/resin-data/balena-supervisor /data
	fi
}

# Partitions that are not mounted here may stand in the root of the host, where its paths lead.
use_folders_of_host() {
	for folder in "${BOOT_MOUNTPOINT:-/mnt/boot}" "${STATE_MOUNTPOINT:-/mnt/state}" "${DATA_MOUNTPOINT:-/mnt/data}"; do
		[ ! -d "$root$folder" ] || link "$root$folder" "$folder"
	done
	if [ -z "${CONFIG_MOUNT_POINT:-}" ] && [ -f /boot/config.json ]; then
		export CONFIG_MOUNT_POINT=/boot/config.json
	fi
	if [ -z "${APPS_JSON_PATH:-}" ] && [ -f /boot/apps.json ]; then
		export APPS_JSON_PATH=/boot/apps.json
	fi
	home=$(dirname "${DATABASE_PATH:-/data/database.sqlite}")
	if [ "$(findmnt -nro TARGET -T "$home" 2>/dev/null || echo /)" = / ]; then
		say "nothing is mounted on $home: the database goes when this container is removed"
	fi
}

find_partitions() {
	reason=$(why_no_partitions)
	device=""
	if [ -z "$reason" ]; then
		device=$(boot_device)
		reason="the host has no mnt-boot.mount"
	fi
	if [ -n "$device" ]; then
		mount_partitions "$device"
	else
		say "no partitions are mounted: $reason"
		use_folders_of_host
	fi
}

# ---- the host's folders and services ----

# Containers of old hosts hold update locks in the folder with the old name.
share_lock_folder() {
	if [ -d "$root/tmp/resin-supervisor" ] && [ ! -d "$root/tmp/balena-supervisor" ]; then
		ln -sfn ./resin-supervisor "$root/tmp/balena-supervisor"
	fi
	[ -d "$root/tmp/balena-supervisor" ] || mkdir -p "$root/tmp/balena-supervisor"
}

# The engine names files of its images by paths of the host.
link_engine_folder() {
	folder=${DOCKER_ROOT:-$root/var/lib/docker}
	[ "${folder#"$root"}" = "$folder" ] || link "$folder" "${folder#"$root"}"
}

# The certificate that is named last marks the step as done: one that was cut off is done again.
trust_root_ca() {
	if [ -n "${BALENA_ROOT_CA:-}" ] && [ ! -e /etc/ssl/certs/balenaRootCA.pem ]; then
		mkdir -p /usr/local/share/ca-certificates
		printf '%s\n' "$BALENA_ROOT_CA" >/usr/local/share/ca-certificates/balenaRootCA.crt
		update-ca-certificates
	fi
}

# Where the journal of the host is, if it is kept at all: in memory, or on disk, which wins.
link_journal() {
	id_file=${STATE_MOUNTPOINT:-/mnt/state}/machine-id
	if [ -e /run/log/journal ] && [ ! -L /run/log/journal ] || [ ! -s "$id_file" ]; then
		return
	fi
	machine=$(cat "$id_file")
	mkdir -p /run/log
	ln -sfn "$root/etc/machine-id" /etc/machine-id
	rm -f /run/log/journal
	for folder in "$root/run/log/journal" "$root/var/log/journal"; do
		[ ! -d "$folder/$machine" ] || ln -sfn "$folder" /run/log/journal
	done
}

# ---- the supervisor ----

# For development: starts the supervisor anew whenever a file of the package changed in this container.
run_live() {
	started=/run/entry-started
	package=$(echo /usr/src/app/lib/python3*/site-packages/balena_supervisor)
	ended=""
	trap 'ended=1' TERM INT
	while [ -z "$ended" ]; do
		touch "$started"
		/usr/src/app/bin/python --check-hash-based-pycs always -OO -m balena_supervisor run &
		supervisor=$!
		until [ -n "$ended" ] || [ -n "$(find "$package" -cnewer "$started")" ] || ! kill -0 "$supervisor"; do
			sleep 1 &
			wait $! || :
		done
		kill "$supervisor" 2>/dev/null || :
		code=0
		wait "$supervisor" || code=$?
	done
	exit "$code"
}

find_partitions
share_lock_folder
link_engine_folder
trust_root_ca
link_journal
link "$root/lib/modules" /lib/modules
modprobe ip6_tables 2>/dev/null || :
[ "${LIVEPUSH:-}" != 1 ] || run_live
exec /usr/src/app/bin/python -OO -m balena_supervisor run
