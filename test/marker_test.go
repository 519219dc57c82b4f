package test

// A milter beside ours, which tells what it saw: the order of milters is seen in
// the mail.

import (
	"bytes"
	"net"
	"regexp"
	"testing"

	gomilter "github.com/emersion/go-milter"
)

// startMarker runs a milter that adds "X-Saw: NAME attachment", "NAME link" or
// "NAME text", and gives its address in Postfix's words.
func startMarker(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &gomilter.Server{NewMilter: func() gomilter.Milter { return &marker{name: name} }, Actions: gomilter.OptAddHeader}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // ends with Close
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return "inet:" + l.Addr().String()
}

type marker struct {
	gomilter.NoOpMilter
	name string
	body bytes.Buffer
}

func (m *marker) BodyChunk(chunk []byte, _ *gomilter.Modifier) (gomilter.Response, error) {
	m.body.Write(chunk)
	return gomilter.RespContinue, nil
}

func (m *marker) Body(mod *gomilter.Modifier) (gomilter.Response, error) {
	saw := "text"
	switch {
	case bytes.Contains(m.body.Bytes(), []byte("filename=")):
		saw = "attachment"
	case linkPattern.Match(m.body.Bytes()):
		saw = "link"
	}
	return gomilter.RespAccept, mod.AddHeader("X-Saw", m.name+" "+saw)
}

var sawField = regexp.MustCompile(`(?m)^X-Saw: (.*?)\r?$`)

// saw is what the markers wrote into a mail, from the top down.
func saw(msg []byte) []string {
	var out []string
	for _, m := range sawField.FindAllSubmatch(msg, -1) {
		out = append(out, string(m[1]))
	}
	return out
}
