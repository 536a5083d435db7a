"""A Slurm of several nodes on this one machine (Debian: slurm-wlm, munge): no systemd, no cgroups, all state in one directory.

A task that is queued again begins once its credential has expired, here after some seconds (`cred_expire`).

    with LocalSlurm(directory, nodes=3) as slurm:
        job = slurm.run("sbatch", "--parsable", "job.sh").strip()
        slurm.kill_node("node2")

Every node is a slurmd of its own; a node is killed as by a power cut: its slurmd, its step daemons and all processes of its jobs.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import needs
from harness import required_tool

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.sock,cred_expire=5
CryptoType=crypto/munge
SlurmctldPort={port}
CommunicationParameters=NoAddrCache,NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
ReturnToService=2
SlurmdTimeout=6
SlurmctldTimeout=10
InactiveLimit=0
KillWait=5
MinJobAge=300
MessageTimeout=10
JobRequeue=1
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
"""


class LocalSlurm:
    def __init__(self, root, nodes=3, processors=2):
        self.root, self.count, self.processors = Path(root).resolve(), nodes, processors
        self.names = [f"node{number}" for number in range(1, nodes + 1)]
        self.environment = {**os.environ, "SLURM_CONF": str(self.root / "slurm.conf")}

    def __enter__(self):
        try:
            self._configure()
            munge = [required_tool("munged"), "--force", f"--key-file={self.root}/munge.key", f"--socket={self.root}/munge.sock"]
            munge += [f"--pid-file={self.root}/munged.pid", f"--log-file={self.root}/munged.log", f"--seed-file={self.root}/munge.seed"]
            self._start(munge)
            self._start([required_tool("slurmctld"), "-f", self.environment["SLURM_CONF"]])
            for name in self.names:
                self.start_node(name)
            self._wait(lambda: self._idle() == self.count, 30, "the nodes to be up")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        self._end()

    def run(self, *command, cwd=None):
        """Runs a command of Slurm's; returns what it printed."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=cwd, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}\n{self._log()}")
        return done.stdout

    def states(self, job):
        """The state of every task of an array, by its number."""
        lines = self.run("squeue", "--noheader", "--array", "--states=all", f"--jobs={job}", "--format=%K %T").split("\n")
        return {int(number): state for number, state in (line.split() for line in lines if line.split()) if number.isdigit()}

    def wait_until(self, job, isDone, seconds, what):
        def ask():
            return isDone(self.states(job))

        self._wait(ask, seconds, what, lambda: f"{self.states(job)}\n{self._log()}")

    def node_of(self, job, task):
        return self.run("squeue", "--noheader", f"--jobs={job}_{task}", "--format=%N").strip()

    def start_node(self, name):
        shutil.rmtree(self.root / "spool" / name, ignore_errors=True)
        (self.root / "spool" / name).mkdir(parents=True)
        self._start([required_tool("slurmd"), "-f", self.environment["SLURM_CONF"], "-N", name])

    def kill_node(self, name):
        """Everything that runs on the node is gone at once."""
        doomed = [self._pid(f"slurmd.{name}")]
        jobs = set(self.run("squeue", "--noheader", "--array", f"--nodelist={name}", "--states=R,CG,S", "--format=%A").split())
        for pid in self._ours():
            words = self._read(pid, "cmdline").replace("\0", " ")
            if words.startswith("slurmstepd: ["):
                if words[len("slurmstepd: [") :].split(".")[0] in jobs:
                    doomed.append(pid)
            elif f"SLURMD_NODENAME={name}" in self._read(pid, "environ").split("\0"):
                doomed.append(pid)
        for pid in doomed:
            self._kill(pid)
        (self.root / f"slurmd.{name}.pid").unlink(missing_ok=True)

    def _configure(self):
        for folder in ("state", "spool"):
            (self.root / folder).mkdir(parents=True)
        self.root.chmod(0o755)
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        ports = self._free_ports(self.count + 1)
        host = socket.gethostname().split(".")[0]
        needs.host_name(host)
        text = CONFIGURATION.format(root=self.root, host=host, port=ports[0])
        for name, port in zip(self.names, ports[1:]):
            text += f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={self.processors} RealMemory=1000 State=UNKNOWN\n"
        text += f"PartitionName=main Nodes={','.join(self.names)} Default=YES MaxTime=INFINITE State=UP\n"
        (self.root / "slurm.conf").write_text(text)

    @staticmethod
    def _free_ports(count):
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        ports = [s.getsockname()[1] for s in sockets]
        for s in sockets:
            s.close()
        return ports

    def _start(self, command):
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}\n{self._log()}")

    def _idle(self):
        return len(set(self.run("sinfo", "--noheader", "--Node", "--states=idle,mixed,allocated", "--format=%N").split()))

    def _wait(self, isDone, seconds, what, describe=None):
        deadline = time.monotonic() + seconds
        while not isDone():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s for {what}\n{describe() if describe else self._log()}")
            time.sleep(0.1)

    def _log(self):
        texts = []
        for path in sorted(self.root.glob("*.log")):
            texts.append(f"{path.name}:\n" + "\n".join(path.read_text(errors="replace").split("\n")[-15:]))
        return "\n".join(texts)

    def _end(self):
        for pid in [self._pid(f"slurmd.{name}") for name in self.names] + [self._pid("slurmctld"), self._pid("munged")]:
            self._kill(pid)
        # What is left of the jobs: step daemons and tasks, known by the configuration that they inherited.
        for pid in self._ours():
            self._kill(pid)

    def _ours(self):
        mark = f"SLURM_CONF={self.environment['SLURM_CONF']}"
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if pid != os.getpid() and mark in self._read(pid, "environ").split("\0")]

    def _pid(self, name):
        try:
            return int((self.root / f"{name}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    @staticmethod
    def _kill(pid):
        try:
            if pid:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    @staticmethod
    def _read(pid, name):
        try:
            return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
        except OSError:
            return ""
