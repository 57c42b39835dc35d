"""A SLURM of one node with two CPUs on this machine, with folders, ports and a key of its own; needs root.

On Debian: apt-get install slurm-wlm munge
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")
CONFIGURATION = """
ClusterName=zinv
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdTimeout=30
KillWait=3
MinJobAge=300
JobRequeue=1
MaxArraySize=101
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=1
PartitionName=urgent Nodes={node} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=off
"""


@dataclass
class Slurm:
    """The daemons, and where they keep their things."""

    folder: Path

    def run(self, *command: str) -> str:
        """What one of SLURM's commands says; a failure of it is one of the test."""
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}{self.tail()}"
        return done.stdout.strip()

    def start_slurmd(self) -> None:
        subprocess.run(["slurmd", "-f", self.folder / "slurm.conf", "-N", "zinv1"], check=True, timeout=60)

    def kill_slurmd(self) -> None:
        """As a node that breaks down, and comes back."""
        os.kill(int((self.folder / "slurmd.pid").read_text()), 9)

    def stop(self) -> None:
        """Cancel what is left, and end slurmd."""
        said("scancel", "--user=root")
        time.sleep(1)
        if (pid := self.folder / "slurmd.pid").is_file():
            said("kill", pid.read_text().strip())

    def queue(self) -> list[str]:
        """Tasks that wait or run."""
        return self.run("squeue", "-h", "-r", "-o", "%i %T").splitlines()

    def wait(self, seconds: float = 900, empty: Callable[[list[str]], bool] = lambda tasks: not tasks) -> None:
        """Until the queue is empty."""
        deadline = time.monotonic() + seconds
        while not empty(self.queue()):
            assert time.monotonic() < deadline, f"{self.queue()}\n{self.tail()}"
            time.sleep(0.5)

    def tail(self) -> str:
        logs = [self.folder / name for name in ("slurmctld.log", "slurmd.log")]
        return "\n".join(log.read_text()[-2000:] for log in logs if log.is_file())


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def wait_for(condition: Callable[[], bool], what: str, slurm: Slurm | None = None) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"{what} does not start\n{slurm.tail() if slurm else ''}"
        time.sleep(0.2)


def missing() -> str:
    """Why none can be started here, or nothing."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"no SLURM on this machine: apt-get install slurm-wlm munge ({', '.join(absent)} missing)"
    return "" if os.geteuid() == 0 else "SLURM's daemons are started as root"


@contextmanager
def started() -> Iterator[Slurm]:
    """munged, slurmctld and slurmd; `SLURM_CONF` names their configuration while they run."""
    folder = Path("/tmp") / f"zinv-slurm-{os.getpid()}"  # a socket's path is short, and no parent may be open to all
    for part in ("state", "spool"):
        (folder / part).mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
    files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
    flags = [f"--{flag}={folder}/{name}" for flag, name in files.items()]
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(host=socket.gethostname(), node="zinv1", folder=folder, ports=free_ports(2))
    )
    slurm, before = Slurm(folder), os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(["munged", "--foreground", "--force", *flags], **quiet)]
    try:
        wait_for((folder / "munge.socket").exists, "munged")
        processes.append(subprocess.Popen(["slurmctld", "-D", "-f", folder / "slurm.conf"], **quiet))
        slurm.start_slurmd()
        wait_for(lambda: "idle" in said("sinfo", "-h", "-o", "%t"), "slurmctld", slurm)
        yield slurm
    finally:
        slurm.stop()
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop("SLURM_CONF")
        os.environ |= {} if before is None else {"SLURM_CONF": before}
