package compilechild

import (
	"os"
	"os/exec"
	"syscall"
)

// confine puts the child in a group of its own, so that what it starts can be ended with it, and ties its life to ours.
func confine(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kill ends the child and its group.
func kill(p *os.Process) error {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL) // the group is gone when the child was the last of it
	return p.Kill()
}

// yieldProcessor lowers the priority of this thread, which its children inherit: traffic comes first.
func yieldProcessor() {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), 10) // best effort
}

// sacrifice offers this process first when the machine runs out of memory.
func sacrifice() {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // best effort: /proc may be absent
}
