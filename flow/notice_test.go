package flow_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/flow"
	"cloakroom/message"
)

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNoticeConfigIsReadFromFiles(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "texts", "fr.yaml"), "available_always: Sans limite.\ndirection: ltr\n")
	writeFile(t, filepath.Join(dir, "notice.html"), `<div lang="{{.Language}}">{{range .Files}}{{.Name}} {{.SHA256}}{{end}} {{.URL}} {{.Expiry}}</div>`)
	writeFile(t, filepath.Join(dir, "notice.txt"), "{{range .Files}}{{.Name}} {{.SHA256}}\n{{end}}{{.URL}} {{.Expiry}}")
	c := flow.DefaultNoticeConfig()
	c.Language, c.Texts, c.HTML, c.Text, c.TimeZone = "fr", "texts", "notice.html", "notice.txt", "Europe/Berlin"
	w, err := c.Resolve(dir).Open()
	if err != nil {
		t.Fatal(err)
	}
	n := message.Notice{URL: "https://f.test/d/x", Site: "f.test", Files: []message.NoticeFile{{Name: "a.pdf"}}, Wording: w}
	hash := strings.Repeat("0", 64)
	if got, want := strings.Join(n.Text(), "\n"), "a.pdf "+hash+"\nhttps://f.test/d/x Sans limite."; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if got, want := strings.Join(n.HTML(), "\n"), `<div lang="fr">a.pdf `+hash+" https://f.test/d/x Sans limite.</div>"; got != want {
		t.Errorf("HTML %q, want %q", got, want)
	}
	n.Expires = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	if got := strings.Join(n.Text(), "\n"); !strings.Contains(got, "14:00 CEST") {
		t.Errorf("text %q has not the time of the zone", got)
	}
}

func TestDefaultNoticeConfigIsTheBuiltinForm(t *testing.T) {
	w, err := flow.DefaultNoticeConfig().Open()
	if err != nil {
		t.Fatal(err)
	}
	n := message.Notice{URL: "https://f.test/d/x", Site: "f.test", Files: []message.NoticeFile{{Name: "a.pdf"}}}
	want := strings.Join(n.Text(), "\n") + strings.Join(n.HTML(), "\n")
	n.Wording = w
	if got := strings.Join(n.Text(), "\n") + strings.Join(n.HTML(), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNoticeConfigNamesTheKeyThatIsWrong(t *testing.T) {
	dir := t.TempDir()
	good := `{{range .Files}}{{.Name}} {{.SHA256}}{{end}} {{.URL}}`
	writeFile(t, filepath.Join(dir, "bad", "fr.yaml"), "headline: x")
	writeFile(t, filepath.Join(dir, "empty", "readme"), "")
	writeFile(t, filepath.Join(dir, "good"), good)
	writeFile(t, filepath.Join(dir, "unlinked"), strings.Replace(good, "{{.URL}}", "", 1))
	writeFile(t, filepath.Join(dir, "broken"), "{{range}")
	writeFile(t, filepath.Join(dir, "large"), good+strings.Repeat(" ", message.MaxNoticeTemplate))
	for name, c := range map[string]struct {
		change func(*flow.NoticeConfig)
		want   []string
	}{
		"language":              {func(c *flow.NoticeConfig) { c.Language = "!" }, []string{"language: ", "neither auto"}},
		"language, no texts":    {func(c *flow.NoticeConfig) { c.Language = "fr" }, []string{"language: ", "only for de, en"}},
		"fallback":              {func(c *flow.NoticeConfig) { c.Fallback = "" }, []string{"fallback: "}},
		"fallback, no texts":    {func(c *flow.NoticeConfig) { c.Fallback = "fr" }, []string{"fallback: ", "only for de, en"}},
		"zone":                  {func(c *flow.NoticeConfig) { c.TimeZone = "Mars/Olympus" }, []string{"time_zone: "}},
		"no zone":               {func(c *flow.NoticeConfig) { c.TimeZone = "" }, []string{"time_zone: "}},
		"no folder":             {func(c *flow.NoticeConfig) { c.Texts = "away" }, []string{"texts: ", "away"}},
		"folder without texts":  {func(c *flow.NoticeConfig) { c.Texts = "empty" }, []string{"texts: ", "no file such as fr.yaml"}},
		"wrong texts":           {func(c *flow.NoticeConfig) { c.Texts = "bad" }, []string{"texts: ", "fr.yaml: headline: there is no such text"}},
		"no HTML template":      {func(c *flow.NoticeConfig) { c.HTML = "away" }, []string{"html: ", "away"}},
		"broken HTML template":  {func(c *flow.NoticeConfig) { c.HTML = "broken" }, []string{"html: ", "broken:1"}},
		"HTML without the link": {func(c *flow.NoticeConfig) { c.HTML = "unlinked" }, []string{"html: HTML template, in language ", "write {{.URL}}"}},
		"broken text template":  {func(c *flow.NoticeConfig) { c.Text = "broken" }, []string{"text: ", "broken:1"}},
		"text without the link": {func(c *flow.NoticeConfig) { c.HTML, c.Text = "good", "unlinked" }, []string{"text: text template, in language ", "write {{.URL}}"}},
		"large template":        {func(c *flow.NoticeConfig) { c.Text = "large" }, []string{"text: ", "larger than 65536 bytes"}},
	} {
		config := flow.DefaultNoticeConfig()
		c.change(&config)
		_, err := config.Resolve(dir).Open()
		if err == nil || !strings.HasPrefix(err.Error(), c.want[0]) || !strings.Contains(err.Error(), c.want[len(c.want)-1]) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}
