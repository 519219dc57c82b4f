package doctor

// What the daemon says of itself on admin.listen.

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

const (
	// maxReadiness bounds what is read of the answer, in bytes.
	maxReadiness = 64 << 10
	logOf        = "journalctl -u cloakroom -n 50"
)

// Readiness asks /readyz below url. What other lines tell is left out: skip has the
// daemon's names for it.
func Readiness(ctx context.Context, client *http.Client, url string, skip map[string]bool) []Line {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return []Line{wrong("correct admin.listen", "%v", err)}
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return []Line{warn(logOf+"; the address may be taken by another program", "admin.listen does not answer: %v", err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReadiness))
	if err != nil {
		return []Line{warn(logOf, "admin.listen: the answer broke off: %v", err)}
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		return readinessJSON(body, skip)
	}
	switch words, _, _ := strings.Cut(string(body), "\n"); words {
	case "ready":
		return []Line{ok("ready")}
	case "not ready":
		return []Line{wrong("the dashboard tells what, and other lines here; "+logOf, "the daemon says that it is not ready")}
	case "ready, but somebody should look":
		return []Line{warn("the dashboard tells at what", "the daemon says that somebody should look")}
	}
	return []Line{warn("another program may have the address: look who listens there, then systemctl restart cloakroom", "admin.listen answers %s, and not as Cloakroom does", resp.Status)}
}

// readinessFixes are what to do about each check of the daemon's.
var readinessFixes = map[string]string{
	"database": "look at the lines database, space and data here; " + logOf,
	"store":    "look at the lines space and data here: the daemon cannot write a file",
	"milter":   "milter.max_connections may be used up; " + logOf,
	"queue":    "cloakroom queue stats; cloakroom queue list --state failed",
	"targets":  "cloakroom vault targets --check",
}

func readinessJSON(body []byte, skip map[string]bool) []Line {
	var said struct {
		Ready  bool `json:"ready"`
		Checks []struct {
			Name  string `json:"check"`
			OK    bool   `json:"ok"`
			Vital bool   `json:"stops_mail"`
			Words string `json:"words"`
		} `json:"checks"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return []Line{warn("another program may have the address: look who listens there", "admin.listen does not answer as Cloakroom does: %v", err)}
	}
	var out []Line
	for _, c := range said.Checks {
		fix := readinessFixes[c.Name]
		if fix == "" {
			fix = logOf
		}
		switch {
		case c.OK || skip[c.Name]:
		case c.Vital:
			out = append(out, wrong(fix, "the daemon says: %s: %s", c.Name, c.Words))
		default:
			out = append(out, warn(fix, "the daemon says: %s: %s", c.Name, c.Words))
		}
	}
	if len(out) == 0 {
		out = append(out, ok("ready"))
	}
	return out
}
