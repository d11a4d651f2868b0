#!/bin/sh
# A SLURM cluster of one node on this machine, to try the graph on a real scheduler without having a cluster.
#
#   sudo apt-get install slurm-wlm munge
#   sudo scripts/slurm_on_one_host.sh start FOLDER     munged, slurmctld and slurmd, all state below FOLDER (an absolute path)
#   snakemake --profile profiles/slurm --jobs 2 --config facemug="$PWD/.venv/bin/facemug"
#   sudo scripts/slurm_on_one_host.sh node FOLDER      starts the node's daemon again after it was killed
#   sudo scripts/slurm_on_one_host.sh stop FOLDER
#
# Inside a job Snakemake clears the variable SLURM_CONF, so /etc/slurm/slurm.conf leads to FOLDER until `stop`; where that file is there
# already, nothing is started. A node whose daemon is gone for 20 seconds counts as down, and its jobs are queued again.
set -eu
[ $# = 2 ] || { echo "usage: $0 start|node|stop FOLDER" >&2; exit 2; }
case $2 in /*) ;; *) echo "$2 is no absolute path: SLURM's daemons need one" >&2; exit 2 ;; esac
folder=$2 host=$(hostname -s) conf=$2/slurm.conf link=/etc/slurm/slurm.conf

node() { slurmd -f "$conf"; }

case $1 in
start)
    for tool in munged slurmctld slurmd; do
        command -v $tool >/dev/null || { echo "$tool is missing: apt-get install slurm-wlm munge" >&2; exit 1; }
    done
    [ ! -e $link ] || { echo "$link is there: this machine has a SLURM of its own" >&2; exit 1; }
    mkdir -p /etc/slurm "$folder/state" "$folder/spool" "$folder/log"
    cat > "$conf" <<CONF
ClusterName=one
SlurmctldHost=$host
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
JobRequeue=1
SlurmdTimeout=20
MinJobAge=86400
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
NodeName=$host CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    ln -s "$conf" $link
    [ -f "$folder/munge.key" ] || { dd if=/dev/urandom of="$folder/munge.key" bs=1024 count=1 2>/dev/null; chmod 600 "$folder/munge.key"; }
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/log/munged.log" --seed-file="$folder/munge.seed"
    slurmctld -f "$conf"
    node
    timeout 30 sh -c 'until sinfo -h -o %T | grep -q idle; do sleep 1; done' \
        || { echo "the node does not come up: see $folder/log" >&2; exit 1; }
    sinfo
    ;;
node) node ;;
stop)
    for daemon in slurmd slurmctld munged; do
        [ -f "$folder/$daemon.pid" ] && kill "$(cat "$folder/$daemon.pid")" 2>/dev/null || true
    done
    [ "$(readlink $link)" != "$conf" ] || rm $link
    ;;
*) echo "usage: $0 start|node|stop FOLDER" >&2; exit 2 ;;
esac
