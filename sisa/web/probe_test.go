package web

import (
	"net/http"
	"strings"
	"testing"
)

func TestOnlyWhoHasTheKeyAsksAndIsAnswered(t *testing.T) {
	s := newStage(t)
	p := NewProbe(testKey)
	r := s.get(s.server.URL + p.Path)
	s.wantStatus(r, http.StatusOK)
	if string(r.body) != p.Answer || strings.Contains(p.Path, p.Answer) {
		t.Errorf("%s is answered %q, want %q", p.Path, r.body, p.Answer)
	}
	if again := NewProbe(testKey); again.Path == p.Path || again.Answer == p.Answer {
		t.Error("two questions are one")
	}
	nowhere := s.get(s.server.URL + "/nowhere")
	nonce, mac, _ := strings.Cut(strings.TrimPrefix(p.Path, "/"+probeUse+"/"), "/")
	for name, path := range map[string]string{
		"of another key": NewProbe([]byte(strings.Repeat("x", KeyBytes))).Path,
		"another nonce":  "/w/" + strings.ToUpper(nonce) + "/" + mac,
		"the answer":     "/w/" + nonce + "/" + p.Answer,
		"no MAC":         "/w/" + nonce + "/",
		"nothing":        "/w/",
		"longer":         p.Path + "/",
	} {
		got := s.get(s.server.URL + path)
		if got.StatusCode != http.StatusNotFound || string(got.body) != string(nowhere.body) {
			t.Errorf("%s: status %d, like an address that does not exist: %v", name, got.StatusCode, string(got.body) == string(nowhere.body))
		}
	}
	s.wantStatus(s.post(s.server.URL+p.Path, "x=1"), http.StatusNotFound)
}
