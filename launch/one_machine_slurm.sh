#!/usr/bin/env bash
# A SLURM of this one machine, to try job scripts on before a cluster sees them:
#
#   sudo apt-get install slurm-wlm munge
#   sudo launch/one_machine_slurm.sh start runs/slurm
#   export SLURM_CONF=$PWD/runs/slurm/slurm.conf
#   sinfo
#   sudo launch/one_machine_slurm.sh stop runs/slurm
#
# Its two partitions share all cores: a job in `urgent` preempts those in
# `normal`, which get SIGTERM, 60 seconds, SIGKILL, and their place in the queue
# again. Everything (keys, sockets, logs, state) stays in the named folder.
set -euo pipefail

if [ $# -ne 2 ] || { [ "$1" != start ] && [ "$1" != stop ]; }; then
  echo "usage: $0 start|stop FOLDER" >&2
  exit 2
fi
for program in munged slurmctld slurmd scontrol; do
  if ! PATH=$PATH:/usr/sbin command -v "$program" >/dev/null; then
    echo "$program is missing: apt-get install slurm-wlm munge" >&2
    exit 1
  fi
done
if [ "$(id -u)" -ne 0 ]; then
  echo "the daemons of SLURM run as root: call $0 with sudo" >&2
  exit 1
fi
PATH=$PATH:/usr/sbin
action=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
export SLURM_CONF=$folder/slurm.conf

stop() {
  # Jobs outlive the daemons that started them.
  if [ -s "$folder/slurmctld.pid" ]; then
    timeout 30 scancel --state=running --state=pending 2>/dev/null || true
    for _ in $(seq 100); do
      [ -n "$(timeout 10 squeue --noheader 2>/dev/null || true)" ] || break
      sleep 0.3
    done
  fi
  # Each daemon by its own pid file, and waited for.
  for name in slurmd slurmctld munged; do
    [ -s "$folder/$name.pid" ] || continue
    pid=$(cat "$folder/$name.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    rm -f "$folder/$name.pid"
  done
}

if [ "$action" = stop ]; then
  stop
  exit
fi

stop
mkdir -p "$folder/state" "$folder/spool"
chmod 755 "$folder"
if [ ! -s "$folder/munge.key" ]; then
  (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
fi
host=$(hostname -s)
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
cat >"$SLURM_CONF" <<CONF
ClusterName=onemachine
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$folder/munge.socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
# No cgroups: they may not be ours to use, as in a container.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=5,sched_interval=5,requeue_delay=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=30
NodeName=$host CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=normal Nodes=$host Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
PartitionName=urgent Nodes=$host PriorityTier=10 PreemptMode=OFF
CONF

munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
  --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" \
  --seed-file="$folder/munged.seed"
slurmctld -c
slurmd -c
for _ in $(seq 100); do
  if scontrol show node "$host" 2>/dev/null | grep -q "State=IDLE"; then
    sinfo
    exit
  fi
  sleep 0.2
done
echo "the node did not come up; see $folder/slurmctld.log and slurmd.log" >&2
exit 1
