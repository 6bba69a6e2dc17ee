#!/bin/sh
# Installs the packages of a list, setup/apt-packages.txt if none is named, that are missing. With nothing to do it asks
# dpkg once and ends.
#
#   packages.sh [setup/LIST.txt]
#
# No service is started: while apt runs, /usr/sbin/policy-rc.d forbids it (an administrator's own one is left alone), and
# a unit that a new package would start at the next boot is disabled again, so that no web server turns up on port 80.
set -eu

cd "$(dirname "$0")/.."
list=${1:-setup/apt-packages.txt}
policy=/usr/sbin/policy-rc.d
policy_mark='made by socklb setup/packages.sh'

main() {
    missing=$(missing_packages)
    [ -n "$missing" ] || exit 0
    if [ "$(id -u)" != 0 ]; then
        echo "setup/packages.sh: these packages are missing, and only root can install them:" >&2
        echo "$missing" >&2
        echo "Run: sudo setup/packages.sh $list" >&2
        exit 1
    fi
    units_before=$(enabled_units)
    trap leave_services_as_they_were EXIT # also when apt fails half way
    trap 'exit 130' INT TERM HUP
    forbid_service_starts
    setup/step.sh apt-update "Reading the package lists" apt-get -q update
    names=$(echo "$missing" | while read -r line; do choose "$line"; done)
    # shellcheck disable=SC2086 # one word a package
    set -- $names
    # Ubuntu's needrestart would ask which services to restart, or restart them.
    setup/step.sh apt-install "Installing $# packages: $*" \
        env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install "$@"
}

missing_packages() { # the lines of the list of which no alternative is installed
    lines=$(sed -e 's/[[:space:]]*#.*//' -e '/^$/d' "$list")
    # shellcheck disable=SC2046 # one word a package; unknown ones are no error here
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $(echo "$lines" | tr '|' ' ') 2>/dev/null |
        sed -n 's/ installed$//p' | sort -u | tr '\n' ' ')
    echo "$lines" | while read -r line; do
        any_installed "$line" || echo "$line"
    done
}

any_installed() { # LINE
    for name in $(echo "$1" | tr '|' ' '); do
        case " $installed " in *" $name "*) return 0 ;; esac
    done
    return 1
}

choose() { # LINE: the first alternative that this distribution has
    for name in $(echo "$1" | tr '|' ' '); do
        if LC_ALL=C apt-cache policy "$name" | grep -q 'Candidate: [^(]'; then
            echo "$name"
            return
        fi
    done
    echo "setup/packages.sh: apt knows no package \"$1\" of $list" >&2
    echo "Add the distribution's full archive (Ubuntu: universe) to /etc/apt/sources.list and run it again." >&2
    return 1
}

forbid_service_starts() {
    restore_policy # one that a killed run left behind
    [ ! -e $policy ] || return 0
    printf '#!/bin/sh\n# %s: removed when it ends\nexit 101\n' "$policy_mark" >$policy
    chmod 755 $policy
}

restore_policy() {
    if grep -qs "$policy_mark" $policy; then rm -f $policy; fi
}

leave_services_as_they_were() {
    restore_policy
    if ! command -v systemctl >/dev/null; then return; fi
    enabled_units | while read -r unit; do
        if ! echo "$units_before" | grep -qxF "$unit"; then
            echo "Disabling $unit: it would start at the next boot"
            systemctl disable --quiet "$unit" 2>/dev/null || echo "  failed; run: systemctl disable $unit" >&2
        fi
    done
}

enabled_units() {
    find /etc/systemd/system -type l -path '*.wants/*' -printf '%f\n' 2>/dev/null | sort -u
}

main "$@"
