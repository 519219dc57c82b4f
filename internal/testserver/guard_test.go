package testserver

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// orphanVariable makes this test binary start a Postfix, tell about it and wait to be killed.
const orphanVariable = "CLOAKROOM_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if os.Getenv(orphanVariable) == "" {
		os.Exit(m.Run())
	}
	p, err := StartPostfix(context.Background(), PostfixOptions{Mailboxes: []string{"bob@acmecorp.test"}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	pid := logPID.FindStringSubmatch(p.Log())[1]
	fmt.Println(pid, p.folder)
	select {}
}

func TestServerEndsWhenItsStarterIsKilled(t *testing.T) {
	starter := exec.Command(os.Args[0])
	starter.Env = append(os.Environ(), orphanVariable+"=1")
	starter.Stderr = os.Stderr
	out, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the starter said %q: %v", line, err)
	}
	first, folder, _ := strings.Cut(strings.TrimSpace(line), " ")
	pid, err := strconv.Atoi(first)
	if err != nil || !alive(pid) {
		t.Fatalf("the starter said %q, want the pid of a running Postfix and its folder", line)
	}
	if err := starter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = starter.Wait() // killed
	for end := time.Now().Add(stopTimeout); time.Now().Before(end); time.Sleep(pollInterval) {
		if _, err := os.Stat(folder); err != nil {
			break
		}
	}
	assertGone(t, folder, []int{pid})
}
