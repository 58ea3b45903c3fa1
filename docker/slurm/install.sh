#!/usr/bin/env bash
# Installs what the tests beside this file run Slurm with, where it is missing: Debian's packages. Nothing is started.
set -euo pipefail

packages=(munge slurmctld slurmd slurm-client charliecloud)
missing=
for program in munged slurmctld slurmd sbatch ch-run; do
	command -v "$program" >/dev/null || missing=yes
done
[[ $missing ]] || exit 0

# Under systemd Debian's packages start their daemons: that is for the machine's owner to decide.
if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 || -d /run/systemd/system ]]; then
	echo "thaw: Slurm's programs are missing: install them (on Debian: apt-get install ${packages[*]})" >&2
	exit 1
fi
install() { DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${packages[@]}"; }
{ install || { apt-get -q update && install; }; } >&2 || {
	echo "thaw: apt-get could not install ${packages[*]}" >&2
	exit 1
}
